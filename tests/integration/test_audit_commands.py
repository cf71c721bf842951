"""The audit trail over the operator API: filters, pages from both ends, names, export, and what a broken chain gives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from littoral_cloud.cli import execute
from littoral_cloud.commands import audit
from littoral_cloud.fleet.ledger import Audit, Change
from littoral_cloud.trust.people import Role, Scope
from tests.kit.operators import OperatorsApi, enrol, operators_api
from tests.kit.raw_redis import raw_redis, socket_of


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OperatorsApi]:
    async with operators_api(tmp_path / "cloud") as api:
        await enrol(api, "gateway")
        lines = [Audit("thing.done", f"t{n}", "me", {"n": n}) for n in range(5)]
        lines += [Audit("node.seen", "id-gateway", "id-gateway"), Audit("thing.gone", "t1", "me")]
        await api.core.ledger.commit(Change((), tuple(lines)))
        yield api


async def paged(api: OperatorsApi, limit: int = 2, **query: Any) -> list[dict[str, Any]]:
    headers = await api.bearer(Role.VIEWER, name="vera")
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        answer = await api.http.get("/api/v1/audit", headers=headers, params={**query, "limit": limit, "after": after})
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        if not (after := answer.json()["next"]):
            return found


async def test_lines_are_filtered_by_subject_name_and_action_from_both_ends(
    api: OperatorsApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects = ["t0", "t1", "t2", "t3", "t4"]
    assert [line["subject"] for line in await paged(api, action="thing.done")] == subjects
    assert [line["subject"] for line in await paged(api, action="thing.done", order="newest")] == subjects[::-1]
    assert [line["action"] for line in await paged(api, subject="t1")] == ["thing.done", "thing.gone"]
    assert [line["action"] for line in await paged(api, subject="t1", order="newest", limit=1)] == ["thing.gone", "thing.done"]
    [seen] = await paged(api, subject="gateway")
    assert (seen["subject"], seen["names"]) == ("id-gateway", {"id-gateway": "gateway"})
    assert await paged(api, since=api.core.clock() + 60) == []
    assert len(await paged(api, since=api.core.clock() - 60, action="thing.*")) == 6
    monkeypatch.setattr(audit, "_READ", 2)
    monkeypatch.setattr(audit, "_MOST_LOOKED", 2)
    assert [line["action"] for line in await paged(api, subject="t1")] == ["thing.done", "thing.gone"], "short pages go on"


async def test_the_trail_is_for_those_whose_scope_is_everything(api: OperatorsApi) -> None:
    nora = await api.bearer(Role.ADMIN, name="nora", scope=Scope(labels={"site": "north"}))
    for path in ("/audit", "/audit/export", "/audit/verify"):
        assert (await api.http.get(f"/api/v1{path}", headers=nora)).json()["error"]["code"] == "denied"
    admin = await api.bearer(Role.ADMIN, name="ada")
    elsewhere = await api.http.post("/api/v1/audit/archive", headers=admin, json={"before": 1.0, "to": "/tmp/x"})
    assert elsewhere.json()["error"]["code"] == "denied"
    for body in ({}, {"before": 1.0, "older_than_s": 1.0}):
        answer = await api.http.post("/api/v1/audit/archive", headers=admin, json=body)
        assert answer.json()["error"]["field"] == "before"
    for bad in ("since=-1", "since=1e300", "order=both", "after=nodes:x", "after=audit:x", "after=audit:9" + "9" * 30):
        assert (await api.http.get(f"/api/v1/audit?{bad}", headers=admin)).status_code == 422, bad


async def test_an_export_has_every_line_also_those_in_files_and_its_chain_is_whole(api: OperatorsApi) -> None:
    before = [line.id for line in await api.core.ledger.audit()]
    admin = await api.bearer(Role.ADMIN, name="ada")
    made = (await api.http.post("/api/v1/audit/archive", headers=admin, json={"before": 4e9})).json()
    assert made[0]["lines"] == len(before) + 1
    exported = await api.http.get("/api/v1/audit/export", headers=admin, params={"archived": True})
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert [line["id"] for line in lines][: len(before)] == before
    assert lines[-1]["action"] == "audit.archived"
    found = (await api.http.get("/api/v1/audit/verify", headers=admin, params={"archived": True})).json()
    assert (found["whole"], found["archived"], found["head"]) == (True, len(before) + 1, lines[-1]["chain"])
    page = (await api.http.get("/api/v1/audit", headers=admin)).json()
    assert page["archived"]["lines"] == len(before) + 1
    raw_redis(socket_of(api.core.settings.data_dir), "XDEL", "audit", lines[-1]["id"])
    broken = (await api.http.get("/api/v1/audit/verify", headers=admin)).json()
    assert (broken["whole"], "are gone" in broken["problem"]) == (False, True)


async def test_the_command_prints_the_newest_lines_in_order_with_names(
    api: OperatorsApi, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ("--data-dir", str(api.core.settings.data_dir))

    async def printed(*words: str) -> str:
        assert await asyncio.to_thread(execute, ["audit", *words, *folder]) == 0
        return capsys.readouterr().out

    out = await printed("show", "--last", "2", "--since", "1h")
    assert [line.split()[1] for line in out.splitlines()] == ["node.seen", "thing.gone"]
    assert "id-gateway (gateway)  by id-gateway (gateway)" in out
    out = await printed("show", "--action", "thing.done", "--format", "json")
    assert [json.loads(line)["details"]["n"] for line in out.splitlines()] == [0, 1, 2, 3, 4]
    exported = [json.loads(line) for line in (await printed("export")).splitlines()]
    assert [line["id"] for line in exported] == [line.id for line in await api.core.ledger.audit()]
    assert await asyncio.to_thread(execute, ["audit", "show", "--since", "soon", *folder]) == 2
