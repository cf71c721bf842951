"""What was made on another machine: files up over the network, tested by the coordinator as a node does, signed and released."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from littoral.digest import digest_of
from littoral.errors import BadInput, RuntimeFailure, Untrusted
from littoral.manifest import Manifest
from littoral_cloud.api.rest import uploads
from littoral_cloud.cli import execute
from littoral_cloud.cli.rollout_watch import looks
from littoral_cloud.client.fleet_client import client_of
from littoral_cloud.client.profile import LoginProfile
from littoral_cloud.client.push import Pushed, push_artifacts, push_bytes, push_release
from littoral_cloud.packaging.package import Packaged
from littoral_cloud.releases.catalogue import read_artifact, read_release
from littoral_cloud.trust.operator_tokens import create_operator_token
from littoral_cloud.trust.people import EVERYWHERE, Role, Scope
from tests.kit.cloud import Cloud, running_cloud
from tests.kit.images import bars
from tests.kit.models import artifact
from tests.kit.operators import OperatorsApi, operators_api
from tests.kit.unrunnable import unrunnable


async def client(cloud: Cloud, role: Role, scope: Scope = EVERYWHERE) -> LoginProfile:
    core = cloud.core
    secret, _ = await create_operator_token(
        core.ledger, secrets.token_hex(4), role, scope, 600.0, core.clock(), secrets.token_urlsafe, actor="test"
    )
    return LoginProfile(url=f"https://{cloud.serving.api}", token=secret, ca_pem=core.trust.ca.pem.decode())


def runnable(folder: Path) -> Packaged:
    manifest = artifact(folder)
    return Packaged(manifest, {file.path: (folder / file.path).read_bytes() for file in manifest.files})


@pytest.mark.slow  # trains: half a minute
async def test_students_that_were_trained_elsewhere_are_released_by_the_coordinator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = bars()
    np.savez(tmp_path / "bars.npz", x=found.train_x, y=found.train_y)
    train = ["train", "--data", str(tmp_path / "bars.npz"), "--model", "bars", "--recipe", "tiny", "--push", "--yes"]
    async with running_cloud(tmp_path / "cloud") as cloud:
        profile = await client(cloud, Role.OPERATOR)
        (tmp_path / "token").write_text(profile.token)
        (tmp_path / "ca.pem").write_text(profile.ca_pem)
        monkeypatch.setenv("LITTORAL_API_URL", profile.url)
        monkeypatch.setenv("LITTORAL_API_TOKEN_FILE", str(tmp_path / "token"))
        monkeypatch.setenv("LITTORAL_API_CA_FILE", str(tmp_path / "ca.pem"))
        words = [*train, "--data-dir", str(tmp_path / "elsewhere"), "--format", "json"]
        assert await asyncio.to_thread(execute, words) == 0
        made = json.loads(capsys.readouterr().out)
        release = await read_release(cloud.core.ledger, made["release"])
        assert (release.model, release.kind, made["rollout"]) == ("bars", "initial", "")
        assert len(release.artifacts) == sum(student["released"] for student in made["students"])
        for digest in release.artifacts:
            known = await read_artifact(cloud.core.ledger, digest)
            assert cloud.core.blobs.has(known.weights)
        assert len(await cloud.core.ledger.all("teacher")) == 1
    assert not (tmp_path / "elsewhere" / "keys").exists()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OperatorsApi]:
    async with operators_api(tmp_path / "cloud") as api:
        yield api


async def test_a_file_goes_up_in_parts_and_goes_on_where_it_ended(api: OperatorsApi) -> None:
    who, content = await api.bearer(Role.OPERATOR), secrets.token_bytes(3_000_000)
    url, total = f"/api/v1/uploads/{digest_of(content)}", len(content)

    async def put(offset: int, data: bytes, code: int, total: int = total) -> dict[str, object]:
        query = {"offset": offset, "total_bytes": total}
        answer = await api.http.put(url, params=query, content=data, headers=who)
        assert answer.status_code == code, answer.text
        body: dict[str, object] = answer.json()
        return body

    assert "ended at 2,000,000 of 3,000,000" in str(await put(0, content[:2_000_000], 409))
    assert (await api.http.get(url, headers=who)).json()["stored_bytes"] == 2_000_000
    await put(0, content, 409)
    assert (await put(2_000_000, content[2_000_000:], 200))["complete"] is True
    assert api.core.blobs.read(digest_of(content)) == content
    assert (await put(0, content, 200))["complete"] is True


async def test_who_falls_silent_in_an_upload_is_not_waited_for_and_goes_on_later(
    api: OperatorsApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SILENCE_S", 0.01)
    who, content = await api.bearer(Role.OPERATOR), secrets.token_bytes(1_000)
    url = f"/api/v1/uploads/{digest_of(content)}?total_bytes={len(content)}"

    async def silent() -> AsyncIterator[bytes]:
        yield content[:400]
        await asyncio.Event().wait()

    answer = await api.http.put(url, content=silent(), headers=who)
    assert (answer.status_code, "ended at 400 of 1,000" in answer.text) == (409, True)
    assert (await api.http.put(f"{url}&offset=400", content=content[400:], headers=who)).json()["complete"] is True


async def test_what_is_no_such_file_is_refused_and_leaves_nothing(api: OperatorsApi) -> None:
    who, url = await api.bearer(Role.OPERATOR), f"/api/v1/uploads/{digest_of(b'right')}"
    for query, content, code in (
        ("total_bytes=5", b"wrong", 422),
        ("total_bytes=3", b"right", 413),
        ("total_bytes=999999999999", b"", 413),
        ("total_bytes=-1", b"", 422),
    ):
        answer = await api.http.put(f"{url}?{query}", content=content, headers=who)
        assert answer.status_code == code, answer.text
    assert (await api.http.put("/api/v1/uploads/sha256:xyz?total_bytes=1", content=b"x", headers=who)).status_code == 422
    viewer = await api.bearer(Role.VIEWER)
    assert (await api.http.put(f"{url}?total_bytes=5", content=b"right", headers=viewer)).status_code == 403
    assert not api.core.blobs.has(digest_of(b"right"))


async def test_over_the_network_an_operator_pushes_an_artifact_that_is_tested_before_it_is_signed(tmp_path: Path) -> None:
    told, made = list[str](), unrunnable("digits")
    async with running_cloud(tmp_path / "cloud") as cloud:
        async with client_of(await client(cloud, Role.OPERATOR)) as fleet:
            with pytest.raises(RuntimeFailure, match=f"a node refuses {made.manifest.name}"):
                await push_artifacts(fleet, [Pushed(made)], told.append)
            assert await fleet.every("/artifacts") == []
            good = runnable(tmp_path / "made")
            [(each, digest)] = await push_artifacts(fleet, [Pushed(made), Pushed(good, b"weights")], told.append)
            assert (each.packaged, len(told)) == (good, 1)
            assert await push_release(fleet, [digest], "initial", "pushed", rollout=True) == {
                "release": "tiny-1",
                "rollout": "tiny-1-r1",
            }
            signed = Manifest.open(cloud.core.blobs.read(digest), cloud.core.trust.signing_keys())
            assert signed == good.manifest
            [known] = await fleet.every("/artifacts")
            assert cloud.core.blobs.read(known["weights"]) == b"weights"
            with pytest.raises(BadInput, match="is not here"):
                await fleet.post("/artifacts", {"manifest": digest_of(b"nowhere")})
            with pytest.raises(BadInput, match="manifest"):
                await fleet.post("/artifacts", {"manifest": await push_bytes(fleet, json.dumps({"schema": 1}).encode())})
        async with client_of(await client(cloud, Role.OPERATOR, Scope(models=("faces",)))) as fleet:
            with pytest.raises(Untrusted, match="model digits"):
                await push_artifacts(fleet, [Pushed(made)], told.append)
        async with client_of(await client(cloud, Role.VIEWER)) as fleet:
            with pytest.raises(Untrusted, match="needs the role operator"):
                await push_bytes(fleet, b"x")


async def test_who_follows_a_rollout_over_the_network_sees_each_change_until_its_end(tmp_path: Path) -> None:
    async with running_cloud(tmp_path / "cloud") as cloud, client_of(await client(cloud, Role.OPERATOR)) as fleet:
        [(_, digest)] = await push_artifacts(fleet, [Pushed(runnable(tmp_path / "made"))], list[str]().append)
        release = (await push_release(fleet, [digest], "manual", "", rollout=False))["release"]
        made = await fleet.post("/rollouts", {"release": release, "approval": True})
        path, seen = f"/rollouts/{made['rollout']}", list[tuple[str, bool, str]]()
        async for found in looks(fleet, made["rollout"]):
            seen.append((found["state"], bool(found["paused_by"]), found["no_coordinator"]))
            if len(seen) <= 2:
                await fleet.post(f"{path}/{('pause', 'abort')[len(seen) - 1]}")
        assert (seen[0], seen[-1]) == (("PENDING", False, ""), ("ROLLED_BACK", False, ""))
        assert ("PENDING", True, "") in seen
