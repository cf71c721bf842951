"""The overview: what it counts, what needs somebody, and that a scope narrows both."""

from __future__ import annotations

from pathlib import Path

from littoral_cloud.fleet.admitting import revoke
from littoral_cloud.trust.people import Role, Scope
from tests.kit.operators import enrol, operators_api
from tests.kit.page_world import MODEL, seed


async def test_it_counts_nodes_and_names_what_needs_somebody(tmp_path: Path) -> None:
    async with operators_api(tmp_path / "cloud") as api:
        await seed(api.core, tmp_path / "made", hostile=False)
        found = (await api.http.get("/api/v1/overview", headers=await api.bearer(Role.VIEWER))).json()
        assert found["nodes"] == 58  # one waits to be let in, one is revoked
        assert found["states"]["cloned"] == found["states"]["pending"] == found["states"]["revoked"] == found["quarantined"] == 1
        needs = {(need["of"], need["state"] or need["severity"]) for need in found["needs"]}
        assert {("node", "cloned"), ("node", "pending"), ("node", "quarantined"), ("run", "bad"), ("drift", "warn")} <= needs
        order = [need["severity"] for need in found["needs"] if "approval" not in need["words"]]  # those come first
        assert order == sorted(order, key=("bad", "warn", "wait").index)


async def test_nodes_that_were_taken_out_are_named_where_no_other_is_there(tmp_path: Path) -> None:
    async with operators_api(tmp_path / "cloud") as api:
        viewer = await api.bearer(Role.VIEWER)
        assert "No node has enrolled yet." in (await api.http.get("/", headers=viewer)).text
        await enrol(api, "kitchen")
        await revoke(api.core.ledger, "id-kitchen", reason="stolen", actor="ann")
        found, page = (await api.http.get("/api/v1/overview", headers=viewer)).json(), await api.http.get("/", headers=viewer)
        assert (found["nodes"], found["states"], found["out"]) == (0, {"revoked": 1}, {})
        assert "No <small>node in the fleet" in page.text
        assert 'href="/fleet?state=revoked"' in page.text
        assert "No node has enrolled yet." not in page.text
        admin = await api.bearer(Role.ADMIN)
        assert (await api.http.post("/api/v1/nodes/kitchen/decommission", headers=admin, json={})).status_code == 200
        found, page = (await api.http.get("/api/v1/overview", headers=viewer)).json(), await api.http.get("/", headers=viewer)
        assert (found["states"], found["out"]) == ({}, {"decommissioned": 1})
        assert '<a href="/fleet?state=decommissioned">1 decommissioned</a>' in page.text
        assert "No node has enrolled yet." not in page.text


async def test_a_scope_narrows_it(tmp_path: Path) -> None:
    async with operators_api(tmp_path / "cloud") as api:
        await seed(api.core, tmp_path / "made", hostile=False)
        north = await api.bearer(Role.VIEWER, name="north", scope=Scope(labels={"site": "north"}))
        found = (await api.http.get("/api/v1/overview", headers=north)).json()
        assert found["nodes"] == 20
        assert not any("quay" in need["words"] or "harbour" in need["words"] for need in found["needs"])
        rows = (await api.http.get("/api/v1/drift?limit=100", headers=north)).json()["items"]
        assert len(rows) == 20
        assert rows[0]["state"] == "drifted"
        other = await api.bearer(Role.VIEWER, name="other", scope=Scope(models=("other",)))
        assert (await api.http.get("/api/v1/drift", headers=other)).json()["items"] == []
        assert not any(need["of"] == "run" for need in (await api.http.get("/api/v1/overview", headers=other)).json()["needs"])


async def test_drift_by_site_puts_the_worst_first(tmp_path: Path) -> None:
    async with operators_api(tmp_path / "cloud") as api:
        await seed(api.core, tmp_path / "made", hostile=False)
        viewer = await api.bearer(Role.VIEWER)
        sites = (await api.http.get("/api/v1/drift/by-site", headers=viewer)).json()
        assert [(each["site"], each["nodes"]) for each in sites] == [("north", 20), ("harbour", 20), ("quay", 20)]
        assert (sites[0]["model"], sites[0]["drifted"], sites[1]["drifted"]) == (MODEL, 5, 0)
        of_node = (await api.http.get("/api/v1/nodes/00000004/drift", headers=viewer)).json()
        assert [each["state"] for each in of_node] == ["drifted"]
