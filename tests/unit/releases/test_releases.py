"""Signing, publishing and releasing, over a real Redis and real blobs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from littoral.digest import digest_of
from littoral.errors import BadInput, Conflict, NotFound, Untrusted
from littoral.manifest import File, Manifest, Output
from littoral.preparation import Input
from littoral.probe import Probe
from littoral.sketch import fit
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.releases.catalogue import (
    all_releases,
    create_release,
    publish,
    read_artifact,
    read_release,
    release_of_run,
)
from littoral_cloud.releases.signed_by import sign_again
from littoral_cloud.store.blobs import BlobFolder
from littoral_cloud.trust.renewal import renew_signing_key
from littoral_cloud.trust.store import Trust, open_trust

pytest_plugins = ("tests.kit.redis",)

CONTENT = b"not a real network"


@dataclass(frozen=True)
class Core:
    ledger: Ledger
    blobs: BlobFolder
    trust: Trust


@dataclass(frozen=True)
class Packaged:
    manifest: Manifest
    files: dict[str, bytes]


def packaged(name: str = "cnn", *, model: str = "digits", content: bytes = CONTENT) -> Packaged:
    raw = np.arange(40, dtype=np.uint8).reshape(10, 1, 2, 2)
    manifest = Manifest(
        model=model,
        name=name,
        architecture={"name": "x"},
        parameters=3,
        runtime="onnxruntime",
        runtime_options={},
        requires={"opset": 18},
        files=(File("model.onnx", digest_of(content), len(content)),),
        input=Input("input", (1, 2, 2), 1 / 255, (0.1,), (0.3,)),
        output=Output("logits", ("a", "b")),
        accuracy=0.9,
        accuracy_examples=10,
        probe=Probe.of(raw[:2], np.zeros((2, 2), np.float32), 0.1),
        sketch=fit(raw, seed=1),
    )
    return Packaged(manifest, {"model.onnx": content})


@pytest.fixture
def core(ledger: Ledger, tmp_path: Path) -> Core:
    return Core(ledger, BlobFolder(tmp_path / "blobs"), open_trust(tmp_path, 1_800_000_000.0))


async def test_an_artifact_is_signed_and_all_its_blobs_are_there(core: Core) -> None:
    made = await publish(core, packaged(), 5.0, weights=b"weights", data="mnist")
    opened = Manifest.open(core.blobs.read(made.manifest_digest), core.trust.signing_keys())
    assert opened == packaged().manifest
    assert core.blobs.read(opened.files[0].digest) == CONTENT
    assert core.blobs.read(made.weights) == b"weights"
    assert await read_artifact(core.ledger, made.manifest_digest) == made
    assert [(line.action, line.subject) for line in await core.ledger.audit()] == [("artifact.signed", made.manifest_digest)]


async def test_publishing_again_changes_nothing_but_adds_weights_that_were_missing(core: Core) -> None:
    first = await publish(core, packaged(), 5.0)
    assert await publish(core, packaged(), 9.0) == first
    second = await publish(core, packaged(), 9.0, weights=b"weights", data="mnist")
    assert second == replace(first, weights=digest_of(b"weights"), data="mnist")
    assert await read_artifact(core.ledger, first.manifest_digest) == second
    assert len(await core.ledger.audit()) == 1


async def test_an_artifact_is_signed_again_by_the_next_key(core: Core, tmp_path: Path) -> None:
    first = await publish(core, packaged(), 5.0, weights=b"weights")
    with pytest.raises(Conflict, match="has signed it already"):
        await sign_again(core, core.trust.signing_keys(), first, 9.0, "me")
    old = core.trust.signing_key_id
    await renew_signing_key(core.ledger, core.trust, 1.0, 0.0, "me")
    both = open_trust(tmp_path, 1.0)  # without the ledger, the newest is in force
    again = await sign_again(replace(core, trust=both), both.signing_keys(), first, 9.0, "me")
    assert again == replace(first, manifest_digest=again.manifest_digest, created_at=9.0)
    assert await read_artifact(core.ledger, again.manifest_digest) == again
    new = {id: raw for id, raw in both.signing_keys().items() if id != old}
    assert Manifest.open(core.blobs.read(again.manifest_digest), new) == packaged().manifest
    with pytest.raises(Untrusted):
        Manifest.open(core.blobs.read(first.manifest_digest), new)


async def test_files_that_are_not_what_the_manifest_says_are_refused(core: Core) -> None:
    right = packaged()
    with pytest.raises(BadInput, match=r"model.onnx is not what the manifest says"):
        await publish(core, Packaged(right.manifest, {"model.onnx": b"other"}), 1.0)
    with pytest.raises(BadInput, match=r"bytes of model.onnx are missing"):
        await publish(core, Packaged(right.manifest, {}), 1.0)
    assert await core.ledger.all("artifact") == []


async def test_releases_of_a_model_are_numbered_also_when_two_are_made_at_once(core: Core) -> None:
    a = (await publish(core, packaged("a"), 1.0)).manifest_digest
    b = (await publish(core, packaged("b", content=b"b"), 1.0)).manifest_digest
    made = await asyncio.gather(*(create_release(core.ledger, "digits", [a, b], "manual", "", float(i)) for i in range(3)))
    assert {release.release_id for release in made} == {"digits-1", "digits-2", "digits-3"}
    assert [release.created_at for release in await all_releases(core.ledger)] == [0.0, 1.0, 2.0]
    assert (await read_release(core.ledger, "digits-1")).artifacts == (a, b)


async def test_the_release_of_a_run_is_found_by_its_run(core: Core) -> None:
    a = (await publish(core, packaged(), 1.0)).manifest_digest
    assert await release_of_run(core.ledger, "r1") is None
    await create_release(core.ledger, "digits", [a], "manual", "run r1", 1.0)
    assert await release_of_run(core.ledger, "r1") is None, "a note is for people"
    made = await create_release(core.ledger, "digits", [a], "federated", "what nodes learnt", 2.0, run_id="r1")
    assert await release_of_run(core.ledger, "r1") == made


async def test_a_release_that_cannot_be_is_refused(core: Core) -> None:
    a = (await publish(core, packaged(), 1.0)).manifest_digest
    with pytest.raises(BadInput, match="kind"):
        await create_release(core.ledger, "digits", [a], "odd", "", 1.0)
    with pytest.raises(BadInput, match="at least one"):
        await create_release(core.ledger, "digits", [], "manual", "", 1.0)
    with pytest.raises(BadInput, match="of model 'digits', not 'faces'"):
        await create_release(core.ledger, "faces", [a], "manual", "", 1.0)
    with pytest.raises(NotFound):
        await create_release(core.ledger, "digits", [digest_of(b"?")], "manual", "", 1.0)
    with pytest.raises(NotFound):
        await read_release(core.ledger, "digits-9")
