"""A second coordinator joins a fleet by its settings, with a data folder of its own, and one that does not belong is refused."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from littoral.errors import Untrusted
from littoral.fleet.v1 import blob_pb2
from littoral.process.command import CommandFailed
from littoral_cloud.app import open_core
from littoral_cloud.cli import execute
from littoral_cloud.fleet.anchors import KIND, read_anchors
from littoral_cloud.fleet.ledger import Change, Write, until
from littoral_cloud.fleet.records import Desired, dump
from littoral_cloud.settings import CloudSettings
from tests.kit.coordinators import KEYS, SeveralCoordinators, node_of
from tests.kit.node_client import NodeClient
from tests.kit.redis_server import MortalRedis

pytest_plugins = ("tests.kit.redis",)


@pytest.fixture
def fleet(tmp_path: Path, mortal_redis: MortalRedis) -> SeveralCoordinators:
    return SeveralCoordinators(tmp_path, mortal_redis)


async def test_a_node_of_the_first_coordinator_gets_its_work_and_its_model_from_the_second(fleet: SeveralCoordinators) -> None:
    async with fleet.serving(0, {}) as first, open_core(fleet.settings(0)) as core:
        credential, blob = await node_of(core, "n1"), core.blobs.put(b"a model" * 1000)
        joined = {"LITTORAL_KEYS_DIR": str(fleet.copied_keys()), "LITTORAL_BLOBS": str(fleet.data(0) / "blobs")}
        async with fleet.serving(1, joined) as second, NodeClient(second.fleet, core.trust.ca.pem, credential) as node:
            assert second.fleet != first.fleet
            line = await node.begin()
            await core.ledger.commit(Change((Write("desired", "n1", dump(Desired(benchmarks=(blob,))), 0),)))
            assert list((await line.hear("desired")).benchmarks) == [blob]
            parts = [part async for part in node.blobs.GetBlob(blob_pb2.GetBlobRequest(digest=blob, offset=7))]
            assert b"".join(part.data for part in parts) == b"a model" * 999
        assert not any((fleet.data(1) / name).exists() for name in (*KEYS, "blobs"))


async def test_after_a_renewal_a_coordinator_without_the_new_keys_does_not_start(
    fleet: SeveralCoordinators, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITTORAL_REDIS_URL", fleet.redis_url)

    async def said(*words: str) -> dict[str, Any]:
        capsys.readouterr()
        code = await asyncio.to_thread(execute, [*words, "--data-dir", str(fleet.data(0)), "--format", "json"])
        assert code == 0
        return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]

    async with fleet.serving(0, {}), open_core(fleet.settings(0)) as core:
        old_keys = fleet.copied_keys()
        before = core.trust.ca.fingerprint
        made = await said("fleet", "renew-ca", "--overlap", "1s")
        key = await said("fleet", "renew-signing-key", "--overlap", "1s")
        assert (made["folder"], key["folder"]) == (str(fleet.data(0) / "ca-2"), str(fleet.data(0) / "signing-2"))

        async def in_force() -> bool | None:
            found, _ = await read_anchors(core.ledger)
            assert found is not None
            return True if found.told.retired and found.signing_key.key_id == key["signing_key"] else None

        await until(core.ledger, (KIND,), in_force, seconds=20, what="the new CA to be in force, and the old one retired")
        shown = await said("fleet", "show")
        assert (shown["fleet"]["ca"], shown["here"]["ca"], shown["same"]) == (made["ca"], made["ca"], True)
        assert [each["state"] for each in shown["authorities"]] == ["retired", "in force"]
        assert [each["state"] for each in shown["signing_keys"]] == ["former", "in force"]

        joined = fleet.settings(1, keys_dir=old_keys, blobs=str(fleet.data(0) / "blobs"))
        with pytest.raises(Untrusted, match=f"the CA is {made['ca'][:16]}, here {before[:16]}; the signing key is "):
            async with open_core(joined):
                pass
        for name in ("ca-2", "signing-2"):
            shutil.copytree(fleet.data(0) / name, old_keys / name)
        async with open_core(joined) as late:
            assert (late.trust.ca.fingerprint, late.trust.signing_key_id) == (made["ca"], key["signing_key"])


async def test_one_without_the_fleets_keys_or_blobs_does_not_start_and_makes_no_keys(
    fleet: SeveralCoordinators, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_core(fleet.settings(0)) as core:
        known = core.trust.ca.fingerprint[:16]
    with pytest.raises(CommandFailed, match=f"has none, and the fleet in this Redis has the CA {known}"):
        async with fleet.serving(1, {}):
            pass
    assert not any((fleet.data(1) / name).exists() for name in KEYS)
    with pytest.raises(Untrusted, match=r"the store of blobs is [0-9a-f]{16}, here none") as told:
        async with open_core(fleet.settings(1, keys_dir=fleet.copied_keys())):
            pass
    assert "LITTORAL_BLOBS" in told.value.hint
    shutil.rmtree(fleet.data(1))
    async with open_core(CloudSettings(data_dir=fleet.data(1))) as other:  # a fleet of its own, on the embedded Redis
        mine = other.trust.ca.fingerprint[:16]
    with pytest.raises(Untrusted, match=f"the CA is {known}, here {mine}; the signing key is .*; the store of blobs is"):
        async with open_core(fleet.settings(1)):
            pass

    monkeypatch.setenv("LITTORAL_REDIS_URL", fleet.redis_url)

    async def said(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(execute, [*words, "--data-dir", str(fleet.data(1)), "--format", "json"])
        return code, "".join(capsys.readouterr())

    code, text = await said("fleet", "show")
    shown = json.loads(text)
    assert (shown["fleet"]["ca"][:16], shown["here"]["ca"][:16], shown["same"], code) == (known, mine, False, 0)
    assert "ca, signing_key, blobs would change" in (await said("fleet", "adopt"))[1]
    assert (await said("fleet", "adopt", "--yes"))[0] == 0
    async with open_core(fleet.settings(1)) as core:
        [line] = [entry for entry in await core.ledger.audit() if entry.action == "fleet.identity-changed"]
        assert (line.details["was"]["ca"][:16], line.details["is"]["ca"][:16]) == (known, mine)
