"""Clients of a running coordinator: tokens of both kinds; and which coordinator a command asks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from littoral.identity import JoinLine
from littoral_cloud.cli import execute
from littoral_cloud.client.fleet_client import fleet_client
from littoral_cloud.client.profile import LoginProfile, write_profile
from littoral_cloud.commands import events
from littoral_cloud.commands.use_case import Office
from littoral_cloud.fleet.ledger import Audit, Change, Write
from littoral_cloud.settings import load_settings
from littoral_cloud.teacher_service.samples import SampleFiles
from littoral_cloud.trust.people import EVERYWHERE, Caller, Role, Scope
from tests.kit.api import asked, token_file, token_of
from tests.kit.cloud import Cloud, running_cloud
from tests.kit.operators import enrol, operators_api
from tests.kit.patience import PATIENCE_S

NORTH = Scope(labels={"site": "north"})


@pytest.fixture
async def cloud(tmp_path: Path) -> Any:
    async with running_cloud(tmp_path / "data") as cloud:
        yield cloud


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_join_tokens_come_in_pages_and_only_inside_a_scope(cloud: Cloud) -> None:
    folder, core = cloud.settings.data_dir, cloud.core
    north = await token_of(core, "nora", Role.OPERATOR, NORTH)
    async with asked(folder) as admin, asked(folder, north) as nora:
        for name in "abc":
            labels = {"site": "north"} if name != "b" else {}
            made = await admin.post("/tokens", json={"name": name, "labels": labels, "ttl_s": 600 + ord(name)})
            assert made.status_code == 201
            assert made.headers["cache-control"] == "no-store"
            line = JoinLine.parse(made.json()["join"])
            assert (line.address, line.ca_sha256) == (cloud.serving.enrolment, core.trust.ca.fingerprint)
        first = (await admin.get("/tokens", params={"limit": 2})).json()
        rest = (await admin.get("/tokens", params={"limit": 2, "after": first["next"]})).json()
        assert [each["name"] for each in (*first["items"], *rest["items"])] == ["a", "b", "c"]
        assert rest["next"] == ""
        assert refused(await admin.get("/operator-tokens", params={"after": first["next"]})) == (422, "bad-input")
        assert [each["name"] for each in (await nora.get("/tokens")).json()["items"]] == ["a", "c"]
        assert refused(await nora.delete("/tokens/b")) == (403, "denied")
        assert refused(await nora.post("/tokens", json={"name": "mine"})) == (403, "denied")
        assert (await nora.post("/tokens", json={"name": "mine", "labels": {"site": "north"}})).status_code == 201
        assert (await nora.delete("/tokens/mine")).json()["state"] == "revoked"
        assert refused(await admin.delete("/tokens/mine")) == (404, "not-found")
        assert refused(await admin.post("/tokens", json={"address": "nowhere"})) == (422, "bad-input")
    trail = [(line.action, line.subject, line.actor) for line in await core.ledger.audit()]
    assert ("token.created", "mine", "nora") in trail
    assert [each for each in trail if each[0] == "access.denied"] == [
        ("access.denied", "token.revoke", "nora"),
        ("access.denied", "token.create", "nora"),
    ]


async def test_a_renewed_token_has_a_new_expiry_and_where_asked_a_new_secret(cloud: Cloud) -> None:
    folder, core = cloud.settings.data_dir, cloud.core
    secret = await token_of(core, "ci", Role.VIEWER, ttl_s=60)
    async with asked(folder) as admin, asked(folder, secret) as old:
        before = (await admin.get("/operator-tokens")).json()["items"][0]
        longer = (await admin.post("/operator-tokens/ci/renew", json={"ttl_s": 900})).json()
        assert (longer["secret"], longer["token"]["id"]) == (None, before["id"])
        assert longer["token"]["expires"] > before["expires"]
        assert (await old.get("/whoami")).json()["name"] == "ci"
        other = (await admin.post("/operator-tokens/ci/renew", json={"ttl_s": 900, "new_secret": True})).json()
        assert refused(await old.get("/whoami")) == (401, "not-signed-in")
        async with asked(folder, other["secret"]) as new:
            assert (await new.get("/whoami")).json() == {"name": "ci", "role": "viewer", "labels": {}, "models": []}
            assert refused(await new.post("/operator-tokens/ci/renew", json={})) == (403, "denied")
        assert refused(await admin.post("/operator-tokens/ci/renew", json={"ttl_s": 0})) == (422, "bad-input")
        await admin.delete("/operator-tokens/ci")
        assert refused(await admin.post("/operator-tokens/ci/renew", json={})) == (409, "conflict")
    assert [line.action for line in await core.ledger.audit() if line.subject == "ci"] == [
        "operator-token.created",
        "operator-token.renewed",
        "operator-token.renewed",
        "operator-token.revoked",
    ]


async def test_a_flag_wins_over_the_environment_and_that_over_the_profile(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("LITTORAL_DATA_DIR", raising=False)
    folder = cloud.settings.data_dir
    ada, ben = [await token_file(cloud.core, tmp_path, name) for name in ("ada", "ben")]
    ca_pem = (cloud.settings.keys / "ca" / "ca.pem").read_text()
    write_profile(LoginProfile(url=f"https://{cloud.serving.api}", token=ben.read_text(), ca_pem=ca_pem))

    async def me(*, folder_by_flag: bool = False, data_dir: Path | None = None) -> str:
        settings = load_settings(data_dir=data_dir)
        async with fleet_client(settings, folder_by_flag=folder_by_flag) as fleet, asyncio.timeout(PATIENCE_S):
            return str((await fleet.get("/whoami"))["name"])

    assert await me() == "ben"
    monkeypatch.setenv("LITTORAL_API_TOKEN_FILE", str(ada))
    assert await me(folder_by_flag=True, data_dir=folder) == "ada"
    monkeypatch.setenv("LITTORAL_DATA_DIR", str(folder))
    assert await me() == "ada"
    monkeypatch.delenv("LITTORAL_API_TOKEN_FILE")
    assert await me() not in ("ada", "ben")
    monkeypatch.setenv("LITTORAL_API_URL", f"https://{cloud.serving.api}")
    monkeypatch.setenv("LITTORAL_API_TOKEN_FILE", str(ada))
    monkeypatch.setenv("LITTORAL_API_CA_FILE", str(cloud.settings.keys / "ca" / "ca.pem"))
    assert await me() == "ada"
    assert await me(folder_by_flag=True, data_dir=folder) == "ada"


def test_the_environment_of_a_script_is_checked_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("LITTORAL_DATA_DIR", raising=False)
    monkeypatch.setenv("LITTORAL_API_URL", "https://127.0.0.1:1")
    assert execute(["operator", "whoami"]) == 2
    assert "LITTORAL_API_TOKEN_FILE" in capsys.readouterr().err
    file = tmp_path / "token"
    monkeypatch.setenv("LITTORAL_API_TOKEN_FILE", str(file))
    assert execute(["operator", "whoami"]) == 2
    file.write_text("litt_x\n")
    assert execute(["operator", "whoami"]) == 8
    monkeypatch.setenv("LITTORAL_API_URL", "http://127.0.0.1:1")
    assert execute(["operator", "whoami"]) == 2
    assert "https://fleet.example.org:7445" in capsys.readouterr().err


def test_logout_removes_the_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = write_profile(LoginProfile(url="https://fleet.example.org", token="litt_x"))
    for removed in (True, False):
        assert execute(["logout", "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"profile": str(path), "removed": removed}
    assert not path.exists()


async def test_a_cohort_has_the_nodes_that_its_caller_may_see(tmp_path: Path) -> None:
    async with operators_api(tmp_path / "cloud") as api:
        for name, site in (("cam-1", "north"), ("cam-2", "south")):
            await enrol(api, name, site=site)
        admin, http = await api.bearer(Role.ADMIN), api.http
        nora = await api.bearer(Role.VIEWER, name="nora", scope=NORTH)
        saved = await http.put("/api/v1/cohorts/cams", headers=admin, json={"where": "name=cam-*"})
        assert saved.json() == {"name": "cams", "where": "name=cam-*", "schema": 1, "nodes": 2}
        assert (await http.get("/api/v1/cohorts/cams", headers=nora)).json()["names"] == ["cam-1"]
        assert [each["name"] for each in (await http.get("/api/v1/cohorts", headers=nora)).json()["items"]] == ["cams"]
        assert refused(await http.delete("/api/v1/cohorts/cams", headers=nora)) == (403, "denied")
        bad = await http.put("/api/v1/cohorts/cams", headers=admin, json={"where": "nothing"})
        assert refused(bad) == (422, "bad-input")
        assert (await http.delete("/api/v1/cohorts/cams", headers=admin)).status_code == 204
        assert refused(await http.get("/api/v1/cohorts/cams", headers=admin)) == (404, "not-found")


async def test_samples_are_those_of_the_callers_nodes_and_models(tmp_path: Path) -> None:
    async with operators_api(tmp_path / "cloud") as api:
        for name, site in (("cam-1", "north"), ("cam-2", "south")):
            await enrol(api, name, site=site)
        files = SampleFiles(api.core.settings.data_dir / "samples")
        one = {"at": 1.0, "model": "digits", "manifest": "sha256:ab", "confidence": 0.5, "node_class": 1, "teacher_class": 1}
        files.add("digits", [one | {"node": "id-cam-1"}, one | {"node": "id-cam-2", "teacher_class": 2}])

        async def found(headers: dict[str, str], **query: Any) -> list[tuple[str, str]]:
            answer = await api.http.get("/api/v1/samples", headers=headers, params=query)
            assert answer.status_code == 200, answer.text
            return [(row["node"], row["node_id"]) for row in map(json.loads, answer.text.splitlines())]

        admin = await api.bearer(Role.ADMIN)
        assert await found(admin) == [("cam-1", "id-cam-1"), ("cam-2", "id-cam-2")]
        assert await found(admin, disagree=True) == await found(admin, last=1) == [("cam-2", "id-cam-2")]
        assert await found(admin, node="cam-1", model="digits") == [("cam-1", "id-cam-1")]
        assert await found(await api.bearer(Role.VIEWER, name="nora", scope=NORTH)) == [("cam-1", "id-cam-1")]
        assert await found(await api.bearer(Role.VIEWER, name="otto", scope=Scope(models=("faces",)))) == []
        assert refused(await api.http.get("/api/v1/samples", headers=admin, params={"model": "x"})) == (404, "not-found")
        certificates = (await api.http.get("/api/v1/certificates", headers=admin)).json()
        assert (certificates["nodes"], certificates["late"]) == (2, 0)


async def test_a_scope_is_told_of_its_own_nodes_and_models_alone(tmp_path: Path) -> None:
    async with operators_api(tmp_path / "cloud") as api, asyncio.timeout(PATIENCE_S):

        async def told(scope: Scope, *expected: tuple[str, str]) -> None:
            caller = Caller(name="nora", role=Role.VIEWER, scope=scope)
            changes = await events.follow(Office(api.core), caller, kinds=events.KINDS, quiet_s=0.05)
            assert await anext(changes) is None  # it follows now
            for each in ("south", "north"):
                record = await api.core.ledger.get("node", f"id-cam-{each}")
                assert record is not None
                await api.core.ledger.commit(Change((Write("node", record.id, record.body, record.generation),)))
            for model in ("faces", "digits"):
                await api.core.ledger.commit(Change((Write("run", f"run-{model}", {"model": model}, None),)))
            await api.core.ledger.commit(Change((), (Audit("thing.done", "x", "me"),)))
            seen: set[tuple[str, str]] = set()
            while (change := await anext(changes)) is not None or not seen >= set(expected):
                seen |= {(change.kind, change.id)} if change is not None else set()
            assert seen == set(expected)

        await enrol(api, "cam-north", site="north")
        await enrol(api, "cam-south", site="south")
        runs = (("run", "run-faces"), ("run", "run-digits"))
        nodes = (("node", "id-cam-north"), ("node", "id-cam-south"))
        await told(NORTH, ("node", "id-cam-north"), *runs)
        await told(Scope(models=("digits",)), *nodes, ("run", "run-digits"))
        await told(EVERYWHERE, *nodes, *runs, ("audit", ""))
