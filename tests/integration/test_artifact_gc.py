"""Collecting what nobody needs while others work, or killed in the middle: nothing that somebody needs is ever missing."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from littoral.digest import digest_of
from littoral.errors import NotFound
from littoral.manifest import Manifest
from littoral_cloud.app import Core, open_core
from littoral_cloud.cli import execute
from littoral_cloud.fleet.ledger import Change, Fence, Write
from littoral_cloud.lineage.find import all_artifacts
from littoral_cloud.lineage.garbage import LEASE, Collected, collect
from littoral_cloud.releases.catalogue import create_release
from littoral_cloud.settings import load_settings
from tests.kit.cloud import running_cloud
from tests.kit.raw_redis import raw_redis, socket_of
from tests.kit.shop import DAY, Shop, grown_old, put

pytest_plugins = ("tests.kit.shop_fixture",)


async def whole(core: Core) -> list[str]:
    """The names of the artifacts that are there, each with every byte that it needs."""
    found = await all_artifacts(core.ledger)
    for artifact in found:
        manifest = Manifest.open(core.blobs.read(artifact.manifest_digest), core.trust.signing_keys())
        core.blobs.read(artifact.weights)
        for file in manifest.files:
            assert len(core.blobs.read(file.digest)) == file.bytes
    return sorted(artifact.name for artifact in found)


async def collected(core: Core) -> Collected:
    async with core.ledger.lease(LEASE) as fence:
        return await collect(core.ledger, core.blobs, core.clock(), DAY, fence, actor="test")


@pytest.mark.slow
async def test_killed_again_and_again_it_leaves_nothing_broken_and_gets_to_the_end(shop: Shop) -> None:
    kills = 0
    while True:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.kit.dying_collector", "5"),
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, err.decode()
        kills += 1
        async with open_core(load_settings()) as core:
            assert {"served", "learnt", "tuned", "base"} <= set(await whole(core))
            # The dead one's lease ends by itself after ten seconds, which nobody here needs to sit through.
            raw_redis(socket_of(core.settings.data_dir), "DEL", f"lease:{LEASE}")
    assert kills >= 2
    assert json.loads(out)["retained"]
    async with open_core(load_settings()) as core:
        assert await whole(core) == ["base", "learnt", "served", "tuned"]
        assert await collected(core) == Collected(0, 0, 0, 0)
        deleted = [e.subject for e in await core.ledger.audit() if e.action == "artifact.deleted"]
    assert sorted(deleted) == sorted((shop.digests["lost"], shop.digests["lost-too"])), "each is told once"


class Meanwhile:
    """A ledger in which something happens right before the first commit that writes a document of a kind."""

    def __init__(self, ledger: Any, kind: str, happens: Callable[[], Awaitable[object]]) -> None:
        self._ledger, self._kind, self._happens = ledger, kind, happens
        self.happened = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def commit(self, change: Change, *, fence: Fence | None = None) -> Mapping[tuple[str, str], int]:
        if not self.happened and any(write.kind == self._kind for write in change.writes):
            self.happened = True
            await self._happens()
        found: Mapping[tuple[str, str], int] = await self._ledger.commit(change, fence=fence)
        return found


async def test_what_is_released_while_it_is_being_deleted_stays(shop: Shop) -> None:
    async with open_core(load_settings()) as core, core.ledger.lease(LEASE) as fence:
        lost = shop.digests["lost"]

        async def releases() -> None:
            await create_release(core.ledger, "tiny", [lost], "manual", "just in time", core.clock())

        ledger = Meanwhile(core.ledger, "artifact", releases)
        done = await collect(ledger, core.blobs, core.clock(), DAY, fence, actor="test")  # type: ignore[arg-type]
        assert (ledger.happened, done.artifacts) == (True, 1)
        assert await whole(core) == ["base", "learnt", "lost", "served", "tuned"]


async def test_a_release_of_what_is_deleted_at_that_moment_is_refused(shop: Shop) -> None:
    async with open_core(load_settings()) as core:
        ledger = Meanwhile(core.ledger, "release", lambda: collected(core))
        with pytest.raises(NotFound, match=f"artifact {shop.digests['lost']}: is not known"):
            await create_release(ledger, "tiny", [shop.digests["lost"]], "manual", "", core.clock())  # type: ignore[arg-type]
        assert [doc.id for doc in await core.ledger.all("release")] == ["tiny-1", "tiny-2"]


async def test_what_is_published_again_while_it_is_collected_is_whole(shop: Shop) -> None:
    """Its blobs are old and it was known: it is deleted, and published anew finds all of its blobs, or puts them."""
    async with open_core(load_settings()) as core, core.ledger.lease(LEASE) as fence:

        async def publishes() -> None:
            await put(core, shop.folder / "made", "lost", 2)
            grown_old(shop.folder)  # as slow as can be: everything was put long ago, and is named only now

        ledger = Meanwhile(core.ledger, "artifact", publishes)
        await collect(ledger, core.blobs, core.clock(), DAY, fence, actor="test")  # type: ignore[arg-type]
        assert await whole(core) == ["base", "learnt", "served", "tuned"]
        await put(core, shop.folder / "made", "lost", 2)
        assert await whole(core) == ["base", "learnt", "lost", "served", "tuned"]


async def test_while_a_run_goes_on_what_came_since_it_began_stays(shop: Shop) -> None:
    async with open_core(load_settings()) as core:
        doc = await core.ledger.get("run", "r1")
        assert doc is not None
        going = {**doc.body, "state": "RUNNING", "created_at": 1.0}
        await core.ledger.commit(Change((Write("run", "r1", going, doc.generation),)))
        assert (await collected(core)).blobs == 0
        assert core.blobs.has(digest_of(b"global model after the first round"))


def test_nothing_is_deleted_where_it_is_not_known_what_is_needed(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    digest = shop.digests["served"].removeprefix("sha256:")
    (shop.folder / "blobs" / "sha256" / digest[:2] / digest).write_bytes(b"rotten")
    before = sorted(shop.folder.glob("blobs/sha256/??/*"))
    for words in (["gc", "--dry-run"], ["gc"]):
        assert execute(["artifact", *words]) == 1
        told = capsys.readouterr()
        assert told.out == ""
        assert "error: artifact served: its manifest cannot be read" in told.err
        assert "publish it again" in told.err
    assert sorted(shop.folder.glob("blobs/sha256/??/*")) == before


async def test_while_the_coordinator_serves_it_collects_as_well(shop: Shop) -> None:
    async with running_cloud(shop.folder) as cloud:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "littoral_cloud.cli", "artifact", "gc", "--format", "json"),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        assert json.loads(out)["deleted"]["artifacts"] == 2
        assert await whole(cloud.core) == ["base", "learnt", "served", "tuned"]
