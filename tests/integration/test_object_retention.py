"""The daily pass and the collection where blobs are in an object store, over a real S3 server."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from littoral.digest import digest_of
from littoral.errors import NotFound, Unavailable
from littoral.manifest import Manifest
from littoral_cloud.app import Core, open_core
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.lineage.find import all_artifacts
from littoral_cloud.lineage.garbage import LEASE, Collected, collect
from littoral_cloud.retention.controller import Retention
from littoral_cloud.retention.parts import COPIES_DAYS, own_parts_of, parts_of
from littoral_cloud.settings import load_settings
from littoral_cloud.store.opened_blobs import open_blobs
from tests.integration.test_retention import viewing
from tests.kit.s3 import BUCKET, S3Server
from tests.kit.shop import DAY, stocked

pytest_plugins = ("tests.kit.redis", "tests.kit.s3_fixture")
URL = f"s3://{BUCKET}/fleet"
LATER_S = (COPIES_DAYS + 1) * DAY


def later() -> float:
    """A day on which nothing that was put is young, and no copy was read for long."""
    return time.time() + LATER_S  # noqa: TID251 - the shell of a test


async def collected(core: Core) -> Collected:
    async with core.ledger.lease(LEASE) as fence:
        return await collect(core.ledger, core.blobs, core.clock(), DAY, fence, actor="test")


async def whole(core: Core, blobs: BlobStore) -> list[str]:
    """The names of the artifacts that are there, each with every byte that it needs in this store."""
    found = await all_artifacts(core.ledger)
    for artifact in found:
        manifest = Manifest.open(blobs.read(artifact.manifest_digest), core.trust.signing_keys())
        blobs.read(artifact.weights)
        for file in manifest.files:
            assert len(blobs.read(file.digest)) == file.bytes
    return sorted(artifact.name for artifact in found)


async def test_a_day_of_retention_and_collection_over_an_object_store(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITTORAL_DATA_DIR", str(tmp_path / "cloud"))
    monkeypatch.setenv("LITTORAL_BLOBS", URL)
    shop = await asyncio.to_thread(stocked, tmp_path)
    async with open_core(load_settings(), clock=later) as core, viewing(core.ledger) as view:
        assert await whole(core, core.blobs) == ["base", "learnt", "lost", "lost-too", "served", "tuned"]
        retention = Retention(core.ledger, parts_of(core, view), core.clock, random.Random(7), own=own_parts_of(core))
        assert await retention.own_if_due()
        assert copies(tmp_path) == [], "what nobody read for a week can be had again"
        assert await retention.pass_if_due()
        assert not await retention.own_if_due()
        assert not await retention.pass_if_due()

        done = await collected(core)
        assert done.artifacts == 2
        assert done.unfinished >= 1
        other = open_blobs(tmp_path / "other", URL)  # of another coordinator
        for store in (core.blobs, other):
            assert await whole(core, store) == ["base", "learnt", "served", "tuned"]
            for gone in (shop.digests["lost"], digest_of(b"nobody's"), digest_of(b"weights of lost")):
                assert not store.has(gone)
                with pytest.raises(NotFound):
                    store.read(gone)
        assert await collected(core) == Collected(0, 0, 0, 0)

        core.blobs.read(shop.digests["served"])
        assert len(copies(tmp_path)) == 1
        await s3.kill()
        before = await core.ledger.all("artifact")
        with pytest.raises(Unavailable, match="cannot be had"):
            await collected(core)
        assert await core.ledger.all("artifact") == before, "where it is not known what is there, nothing is deleted"


def copies(folder: Path) -> list[str]:
    return [path.name for path in (folder / "cloud" / "blobs" / "sha256").glob("??/*")]
