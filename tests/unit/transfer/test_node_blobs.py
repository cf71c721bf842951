"""Blobs against a real gRPC server that breaks off, lies and damages."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.digest import digest_of, hex_of
from littoral.errors import BadInput, DigestMismatch, NoSpace, NotFound, TooLarge, Unavailable
from littoral_node.transfer.blobs import BARREN_TRIES, FETCHES_OF_A_WRONG_BLOB, NodeBlobs
from littoral_node.transfer.pace import Pace
from tests.kit.blob_source import BlobSource, blob_source

pytest_plugins = ("tests.kit.disk",)

DATA = random.Random(1).randbytes(20_500)


@pytest.fixture
async def source() -> AsyncIterator[BlobSource]:
    async with blob_source() as running:
        yield running


async def no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


def blobs_in(folder: Path, source: BlobSource, **more: Any) -> NodeBlobs:
    settings: dict[str, Any] = {"monotonic": time.monotonic, "sleep": no_pause, "rng": random.Random(3), **more}
    return NodeBlobs(folder, source.channel, **settings)


async def test_a_blob_is_fetched_checked_and_found_again(source: BlobSource, tmp_path: Path) -> None:
    digest = source.hold(DATA)
    blobs = blobs_in(tmp_path, source)
    path = await blobs.get(digest, len(DATA))
    assert path.read_bytes() == DATA
    assert await blobs.get(digest) == path == blobs.path(digest)
    assert source.offsets == [0]


async def test_an_empty_blob_is_a_blob(source: BlobSource, tmp_path: Path) -> None:
    digest = source.hold(b"")
    assert (await blobs_in(tmp_path, source).get(digest, 0)).read_bytes() == b""


async def test_a_broken_stream_goes_on_at_the_byte(source: BlobSource, tmp_path: Path) -> None:
    digest = source.hold(DATA)
    source.break_at = [7_300, 7_300, 15_001]
    path = await blobs_in(tmp_path, source).get(digest)
    assert path.read_bytes() == DATA
    assert source.offsets == [0, 7_300, 7_300, 15_001]


async def test_a_partial_of_an_earlier_process_is_gone_on_with(source: BlobSource, tmp_path: Path) -> None:
    digest = source.hold(DATA)
    (tmp_path / f"{hex_of(digest)}.part").write_bytes(DATA[:9_999])
    assert (await blobs_in(tmp_path, source).get(digest)).read_bytes() == DATA
    assert source.offsets == [9_999]


async def test_a_whole_partial_needs_no_byte_more(source: BlobSource, tmp_path: Path) -> None:
    digest = digest_of(DATA)
    (tmp_path / f"{hex_of(digest)}.part").write_bytes(DATA)
    assert (await blobs_in(tmp_path, source).get(digest, len(DATA))).read_bytes() == DATA
    assert source.offsets == []


async def test_a_damaged_partial_is_fetched_anew(source: BlobSource, tmp_path: Path) -> None:
    digest = source.hold(DATA)
    (tmp_path / f"{hex_of(digest)}.part").write_bytes(b"\0" * 9_999)
    assert (await blobs_in(tmp_path, source).get(digest)).read_bytes() == DATA
    assert source.offsets == [9_999, 0]


async def test_a_partial_longer_than_the_blob_is_fetched_anew(source: BlobSource, tmp_path: Path) -> None:
    digest = source.hold(DATA)
    (tmp_path / f"{hex_of(digest)}.part").write_bytes(DATA + b"more")
    assert (await blobs_in(tmp_path, source).get(digest)).read_bytes() == DATA


async def test_a_flipped_byte_is_fetched_again_and_again_and_then_refused(source: BlobSource, tmp_path: Path) -> None:
    digest = source.hold(DATA)
    source.flip = 1
    assert (await blobs_in(tmp_path / "a", source).get(digest)).read_bytes() == DATA
    source.flip = 100
    source.offsets.clear()
    with pytest.raises(DigestMismatch, match="its bytes have"):
        await blobs_in(tmp_path / "b", source).get(digest)
    assert len(source.offsets) == FETCHES_OF_A_WRONG_BLOB
    assert list((tmp_path / "b").iterdir()) == []


@pytest.mark.parametrize("said", [len(DATA) - 1, len(DATA) + 1])
async def test_a_size_other_than_the_manifest_names_is_refused(source: BlobSource, tmp_path: Path, said: int) -> None:
    digest = source.hold(DATA)
    with pytest.raises(DigestMismatch, match="the manifest names"):
        await blobs_in(tmp_path, source).get(digest, said)


async def test_more_bytes_than_were_named_are_not_written(source: BlobSource, tmp_path: Path) -> None:
    digest = source.hold(DATA)
    source.says_total = 5_000
    with pytest.raises(DigestMismatch, match="more than the 5000 bytes"):
        await blobs_in(tmp_path, source).get(digest)
    assert list(tmp_path.iterdir()) == []


async def test_a_blob_over_the_limit_is_not_begun(source: BlobSource, tmp_path: Path) -> None:
    with pytest.raises(TooLarge):
        await blobs_in(tmp_path, source).get(source.hold(DATA), limit=20_000)


async def test_a_blob_that_the_cloud_lacks_is_not_found(source: BlobSource, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await blobs_in(tmp_path, source).get(digest_of(b"nobody has this"))
    with pytest.raises(BadInput, match="is not a digest"):
        await blobs_in(tmp_path, source).get("sha256:../../etc/passwd")


async def test_a_line_that_brings_nothing_is_given_up_and_what_came_is_kept(source: BlobSource, tmp_path: Path) -> None:
    digest = source.hold(DATA)
    source.break_at = [6_000] + [0] * BARREN_TRIES
    blobs = blobs_in(tmp_path, source)
    with pytest.raises(Unavailable):
        await blobs.get(digest)
    assert blobs.held_bytes(digest) == 6_000
    assert (await blobs.get(digest)).read_bytes() == DATA


async def test_two_who_want_one_blob_fetch_it_once(source: BlobSource, tmp_path: Path) -> None:
    digest = source.hold(DATA)
    blobs = blobs_in(tmp_path, source)
    first, second = await asyncio.gather(blobs.get(digest), blobs.get(digest))
    assert first == second
    assert source.offsets == [0]


async def test_room_that_is_not_there_is_not_asked_for(source: BlobSource, tmp_path: Path) -> None:
    blobs = blobs_in(tmp_path, source, keep_free=1 << 60)
    with pytest.raises(NoSpace, match="needed"):
        await blobs.get(source.hold(DATA))
    assert list(tmp_path.iterdir()) == []


async def test_a_disk_that_fills_up_on_the_way_leaves_no_partial(source: BlobSource, tiny_disk: Path) -> None:
    digest = source.hold(random.Random(2).randbytes(60_000))
    blobs = blobs_in(tiny_disk, source)
    blobs.check_room = lambda needed: None  # type: ignore[method-assign]  # somebody else fills it after we looked
    (tiny_disk / "somebody-else").write_bytes(b"x" * 40_000)
    with pytest.raises(NoSpace, match="full at byte"):
        await blobs.get(digest)
    assert [entry.name for entry in tiny_disk.iterdir()] == ["somebody-else"]
    (tiny_disk / "somebody-else").unlink()
    assert (await blobs.get(digest)).stat().st_size == 60_000


async def test_a_blob_is_given_once_and_goes_on_where_it_broke(source: BlobSource, tmp_path: Path) -> None:
    data = random.Random(5).randbytes(900_000)  # four messages
    source.break_put_at = [300_000]
    file = tmp_path / "reply"
    file.write_bytes(data)
    digest = await blobs_in(tmp_path / "blobs", source).put(file)
    assert source.held[digest] == data
    assert source.offsets[0] == 0
    assert source.offsets[1] >= 262_144
    source.offsets.clear()
    assert await blobs_in(tmp_path / "blobs", source).put(data) == digest
    assert source.offsets == []


async def test_sweeping_keeps_what_is_wanted(source: BlobSource, tmp_path: Path) -> None:
    blobs = blobs_in(tmp_path, source)
    kept, gone = await asyncio.gather(blobs.get(source.hold(b"kept")), blobs.get(source.hold(b"gone")))
    (tmp_path / f"{hex_of(digest_of(b'x'))}.part").write_bytes(b"...")
    blobs.sweep({digest_of(b"kept")})
    assert kept.exists()
    assert not gone.exists()
    assert len(list(tmp_path.iterdir())) == 1


async def test_the_rate_holds_a_download_back(source: BlobSource, tmp_path: Path) -> None:
    now, waited = 0.0, 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now, waited
        now, waited = now + seconds, waited + seconds

    blobs = blobs_in(tmp_path, source, rate=10_000.0, monotonic=lambda: now, sleep=sleep)
    await blobs.get(source.hold(DATA))
    assert waited == pytest.approx(len(DATA) / 10_000 - 0.1, abs=0.01)


@given(st.floats(1, 1e9), st.lists(st.tuples(st.integers(1, 1 << 20), st.floats(0, 10)), max_size=50))
def test_no_pattern_of_requests_passes_the_rate(rate: float, pattern: list[tuple[int, float]]) -> None:
    pace, now, sent = Pace(rate), 0.0, 0
    for count, pause in pattern:
        now += pause
        now += pace.wait_s(count, now)
        sent += count
        assert sent <= rate * (now + 0.1) * (1 + 1e-9) + 1e-3


def test_without_a_rate_nobody_waits() -> None:
    assert Pace(None).wait_s(1 << 30, 0.0) == 0.0
