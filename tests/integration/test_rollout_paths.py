"""Paths of rollouts, releases, artifacts and models, over a real ledger: what they give, and whom they refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from littoral_cloud.releases.catalogue import create_release, publish
from littoral_cloud.trust.people import Role, Scope
from tests.kit.operators import OperatorsApi, enrol, operators_api
from tests.kit.unrunnable import unrunnable

V1 = "/api/v1"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OperatorsApi]:
    """Two nodes at two sites; release digits-1 with one artifact."""
    async with operators_api(tmp_path / "cloud") as api:
        for name, site in (("cam-1", "harbour"), ("cam-2", "mill")):
            await enrol(api, name, site=site)
        made = await publish(api.core, unrunnable("digits"), api.core.clock())
        await create_release(api.core.ledger, "digits", [made.manifest_digest], "manual", "", api.core.clock())
        yield api


async def ask(api: OperatorsApi, who: dict[str, str], method: str, path: str, code: int = 200, **given: Any) -> Any:
    answer = await api.http.request(method, V1 + path, headers=who, **given)
    assert answer.status_code == code, answer.text
    return answer.json() if answer.content else None


async def test_a_rollout_that_a_scope_starts_goes_to_its_own_nodes_alone(api: OperatorsApi) -> None:
    ada = await api.bearer(Role.OPERATOR, name="ada", scope=Scope(labels={"site": "harbour"}, models=("digits",)))
    made = await ask(api, ada, "POST", "/rollouts", 201, json={"release": "digits-1", "waves": [1, "50%"]})
    assert made == {"rollout": "digits-1-r1", "state": "PENDING", "waits_for": []}
    shown = await ask(api, ada, "GET", "/rollouts/digits-1-r1")
    assert (shown["policy"]["where"], shown["policy"]["wave_sizes"], shown["started_by"]) == ("site=harbour", [1, "50%"], "ada")
    for refused, words in (
        ({"where": "site=mill"}, "--where: site=mill"),
        ({"nodes": ["cam-2"]}, "node cam-2"),
        ({"canary": "cam-2"}, "node cam-2"),
    ):
        error = (await ask(api, ada, "POST", "/rollouts", 403, json={"release": "digits-1", **refused}))["error"]
        assert error["message"].startswith(f"{words}: is outside of the scope of ada"), error
    more = await ask(api, ada, "POST", "/rollouts", 201, json={"release": "digits-1", "where": "name=cam-*"})
    found = await ask(api, ada, "GET", f"/rollouts/{more['rollout']}")
    assert found["policy"]["where"] == "name=cam-*,site=harbour"
    assert [line.action for line in await api.core.ledger.audit()][-1] == "rollout.started"


async def test_who_has_other_nodes_or_models_steers_withdraws_and_sees_nothing_of_it(api: OperatorsApi) -> None:
    admin = await api.bearer(Role.ADMIN)
    await ask(api, admin, "POST", "/rollouts", 201, json={"release": "digits-1"})
    ada = await api.bearer(Role.OPERATOR, name="ada", scope=Scope(labels={"site": "harbour"}))
    ben = await api.bearer(Role.OPERATOR, name="ben", scope=Scope(models=("faces",)))
    for verb in ("pause", "abort", "approve", "promote", "resume"):
        await ask(api, ada, "POST", f"/rollouts/digits-1-r1/{verb}", 403)
        await ask(api, ben, "POST", f"/rollouts/digits-1-r1/{verb}", 403)
    await ask(api, ada, "POST", "/releases/digits-1/withdraw", 403, json={"why": "blind"})
    for path in (
        "/rollouts/digits-1-r1",
        "/rollouts/digits-1-r1/progress",
        "/rollouts/digits-1-r1/explanation",
        "/releases/digits-1",
        "/artifacts/cnn",
        "/models/digits/front",
        "/models/digits/lineage",
    ):
        await ask(api, ben, "GET", path, 403)
    for path in ("/rollouts", "/releases", "/artifacts", "/models"):
        assert (await ask(api, ben, "GET", path))["items"] == []
        assert len((await ask(api, ada, "GET", path))["items"]) == 1
    await ask(api, ben, "POST", "/rollouts", 403, json={"release": "digits-1"})
    await ask(api, ben, "POST", "/rollouts/back", 403, json={"model": "digits"})
    await ask(api, ben, "POST", "/releases", 403, json={"artifacts": ["cnn"]})


async def test_lists_come_in_pages_from_both_ends(api: OperatorsApi) -> None:
    admin = await api.bearer(Role.ADMIN)
    for _ in range(3):
        await ask(api, admin, "POST", "/rollouts", 201, json={"release": "digits-1"})

    async def pages(query: str) -> list[list[str]]:
        found, after = [], ""
        while True:
            page = await ask(api, admin, "GET", f"/rollouts?limit=2&after={after}{query}")
            found.append([each["id"] for each in page["items"]])
            if not (after := page["next"]):
                return found

    assert await pages("") == [["digits-1-r1", "digits-1-r2"], ["digits-1-r3"]]
    assert await pages("&newest_first=true") == [["digits-1-r3", "digits-1-r2"], ["digits-1-r1"]]
    assert await pages("&model=faces") == [[]]
    assert (await ask(api, admin, "GET", "/rollouts?after=releases:1", 422))["error"]["field"] == "after"


async def test_a_request_that_cannot_be_is_refused_with_its_field(api: OperatorsApi) -> None:
    admin = await api.bearer(Role.ADMIN)
    requests: list[tuple[dict[str, Any], int, str]] = [
        ({"release": "digits-9"}, 404, ""),
        ({"wave": [1]}, 422, "wave"),
        ({"waves": []}, 422, "waves"),
        ({"waves": ["101%"]}, 422, "waves"),
        ({"most_nodes": 0}, 422, "most_nodes"),
        ({"probation_s": -1}, 422, "probation_s"),
        ({"not_before": 1e12}, 422, "not_before"),
        ({"where": "site"}, 422, "where"),
        ({"where": "site=x", "cohort": "y"}, 422, "cohort"),
        ({"gates": ["p96"]}, 422, "gate"),
        ({"window": "at night"}, 422, "window"),
    ]
    for body, code, field in requests:
        for path in ("/rollouts", "/rollouts/preview"):
            error = (await ask(api, admin, "POST", path, code, json={"release": "digits-1", **body}))["error"]
            assert error["field"] == field, error
    assert (await ask(api, admin, "GET", "/rollouts"))["items"] == []


async def test_two_people_who_steer_one_rollout_lose_nothing(api: OperatorsApi) -> None:
    admin = await api.bearer(Role.ADMIN)
    await ask(api, admin, "POST", "/rollouts", 201, json={"release": "digits-1"})
    read = await api.http.get(f"{V1}/rollouts/digits-1-r1", headers=admin)
    mine = admin | {"if-match": read.headers["etag"]}
    await ask(api, mine, "POST", "/rollouts/digits-1-r1/pause", 204)
    await ask(api, mine, "POST", "/rollouts/digits-1-r1/abort", 412)
    shown = await ask(api, admin, "GET", "/rollouts/digits-1-r1")
    assert (shown["paused_by"], shown["aborted_by"]) == ("admin", "")


async def test_a_release_is_made_shown_and_withdrawn(api: OperatorsApi) -> None:
    admin = await api.bearer(Role.ADMIN)
    made = await ask(api, admin, "POST", "/releases", 201, json={"artifacts": ["cnn"], "note": "again"})
    assert (made["release"]["release_id"], made["release"]["note"], made["artifacts"][0]["name"]) == ("digits-2", "again", "cnn")
    await ask(api, admin, "POST", "/rollouts", 201, json={"release": "digits-2"})
    gone = await ask(api, admin, "POST", "/releases/digits-2/withdraw", json={"why": "blind to sevens"})
    assert (gone["release"]["withdrawn"], gone["rollouts_stopped"]) == ("blind to sevens", ["digits-2-r1"])
    assert gone["why_none"] == "model digits: no release has passed a rollout yet"
    assert (await ask(api, admin, "POST", "/releases/digits-1/withdraw", 422, json={"why": " "}))["error"]["field"] == "why"
    assert (await ask(api, admin, "POST", "/releases", 422, json={"artifacts": []}))["error"]["field"] == "artifacts"


async def test_a_models_front_and_its_lineage(api: OperatorsApi) -> None:
    viewer = await api.bearer(Role.VIEWER)
    [model] = (await ask(api, viewer, "GET", "/models"))["items"]
    assert model == {"name": "digits", "artifacts": 1, "releases": 1, "in_force": "digits-1", "nodes": 0}
    [point] = (await ask(api, viewer, "GET", "/models/digits/front"))["points"]
    assert (point["name"], point["p95_ms"], point["front"], point["releases"]) == ("cnn", None, True, ["digits-1"])
    graph = await ask(api, viewer, "GET", "/models/digits/lineage")
    assert {"parent": point["digest"], "child": "digits-1", "role": "released"} in graph["edges"]
    ids = {node["id"] for node in graph["nodes"]}
    assert all({edge["parent"], edge["child"]} <= ids for edge in graph["edges"])
    story = await ask(api, viewer, "GET", f"/artifacts/{point['digest'][7:13]}")
    assert (story["digest"], story["manifest"]["name"], story["releases"][0]["release_id"]) == (
        point["digest"],
        "cnn",
        "digits-1",
    )
    assert story["tree"]["branches"]
