"""Blobs in an object store, over a real S3 server: read, put, resumed, collected, and what a dead store means."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import from_url

from littoral.digest import digest_of, hex_of
from littoral.errors import BadInput, DigestMismatch, NotFound, Unavailable
from littoral.fleet.v1 import blob_pb2
from littoral_cloud.app import open_core
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.records import Desired, dump
from littoral_cloud.store import object_blobs
from littoral_cloud.store.object_blobs import ObjectBlobs
from littoral_cloud.store.opened_blobs import open_blobs
from tests.kit.coordinators import SeveralCoordinators, node_of
from tests.kit.node_client import NodeClient
from tests.kit.redis_server import MortalRedis
from tests.kit.s3 import BUCKET, S3Server

pytest_plugins = ("tests.kit.redis", "tests.kit.s3_fixture")
URL = f"s3://{BUCKET}/fleet"
BLOB = os.urandom(100_000)
DIGEST = digest_of(BLOB)
now = time.time  # noqa: TID251 - the shell of a test


def store(folder: Path, machine: str) -> ObjectBlobs:
    opened = open_blobs(folder / machine, URL)
    assert isinstance(opened, ObjectBlobs)
    return opened


def bucket() -> Any:
    """Past our own code."""
    return from_url(URL, client_options={"allow_http": True})


async def test_what_one_machine_puts_another_reads(s3: S3Server, tmp_path: Path) -> None:
    one, other = store(tmp_path, "one"), store(tmp_path, "other")
    assert one.put(BLOB) == DIGEST
    assert (other.has(DIGEST), other.stored_bytes(DIGEST)) == (True, len(BLOB))
    assert other.read(DIGEST) == BLOB == other.path(DIGEST).read_bytes()
    assert [(entry.digest, entry.bytes) for entry in other.entries()] == [(DIGEST, len(BLOB))]
    assert one.identity(make=False) == ""
    assert one.identity(make=True) == other.identity(make=True) == one.identity(make=False) != ""
    assert other.read(other.put(b"")) == b"" == one.read(digest_of(b""))
    missing = digest_of(b"missing")
    assert not one.has(missing)
    assert not one.renew(missing)
    for read in (one.read, one.path):
        with pytest.raises(NotFound):
            read(missing)


async def test_a_copy_that_broke_off_goes_on_at_the_byte(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_blobs, "PART_BYTES", 30_000)
    store(tmp_path, "one").put(BLOB)
    other = store(tmp_path, "other")
    asked: list[int] = []
    whole: Callable[..., Any] = obstore.get_range

    def watched(opened: Any, key: str, *, start: int, length: int) -> Any:
        asked.append(start)
        if len(asked) == 3:
            raise ConnectionResetError("in the middle")
        return whole(opened, key, start=start, length=length)

    monkeypatch.setattr(obstore, "get_range", watched)
    with pytest.raises(Unavailable, match="in the middle"):
        other.read(DIGEST)
    assert other.read(DIGEST) == BLOB
    assert asked == [0, 30_000, 60_000, 60_000, 90_000]


async def test_bytes_that_the_store_changed_are_never_given_out(s3: S3Server, tmp_path: Path) -> None:
    one, other = store(tmp_path, "one"), store(tmp_path, "other")
    one.put(BLOB)
    obstore.put(bucket(), f"sha256/{hex_of(DIGEST)}", BLOB[:-1] + bytes([BLOB[-1] ^ 1]))
    with pytest.raises(DigestMismatch):
        other.read(DIGEST)
    assert one.read(DIGEST) == BLOB, "its own copy is whole"
    one.path(DIGEST).write_bytes(b"rotten")
    with pytest.raises(DigestMismatch):
        one.read(DIGEST)


async def test_an_upload_is_whole_in_the_store_or_not_there(s3: S3Server, tmp_path: Path) -> None:
    one, other = store(tmp_path, "one"), store(tmp_path, "other")
    one.append(DIGEST, 0, BLOB[:70_000])
    assert (one.stored_bytes(DIGEST), other.stored_bytes(DIGEST), other.has(DIGEST)) == (70_000, 0, False)
    one.append(DIGEST, 70_000, BLOB[70_000:])
    one.complete(DIGEST, len(BLOB))
    assert other.read(DIGEST) == BLOB


async def test_a_blob_that_is_discarded_goes_and_one_that_is_renewed_meanwhile_stays(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = store(tmp_path, "one"), store(tmp_path, "other")
    one.put(BLOB)
    assert one.discard(DIGEST, now() - 60) == 0, "it is young"
    deleting: Callable[..., Any] = obstore.delete

    def slow(opened: Any, key: str) -> None:
        if key.startswith("sha256/"):
            assert other.renew(DIGEST)  # just before it is gone
        deleting(opened, key)

    with monkeypatch.context() as while_deleting:
        while_deleting.setattr(obstore, "delete", slow)
        assert one.discard(DIGEST, now() + 60) == 0
    assert store(tmp_path, "third").read(DIGEST) == BLOB
    assert one.discard(DIGEST, now() + 60) == len(BLOB)
    assert not other.has(DIGEST)
    assert not other.renew(DIGEST), "who wants it has to put it"
    assert other.put(BLOB) == DIGEST
    assert store(tmp_path, "fourth").read(DIGEST) == BLOB
    assert one.unfinished(now() + 60) == (0, 0)


async def test_a_deletion_that_was_killed_is_ended_by_the_next_pass(s3: S3Server, tmp_path: Path) -> None:
    one, other = store(tmp_path, "one"), store(tmp_path, "other")
    wanted, unwanted = BLOB, b"nobody's"
    for data in (wanted, unwanted):
        key = hex_of(one.put(data))
        obstore.copy(bucket(), f"sha256/{key}", f"doomed/{key}")
        if data is wanted:
            assert other.renew(DIGEST)
        obstore.delete(bucket(), f"sha256/{key}")
    assert one.unfinished(now() + 60) == (2, len(wanted) + len(unwanted))
    assert one.sweep(now() + 60) == 2
    assert store(tmp_path, "third").read(DIGEST) == BLOB
    assert not other.has(digest_of(unwanted))
    assert not [path for path in (tmp_path / "one").rglob("*") if path.name == hex_of(DIGEST)], "a copy that was not read since"


async def test_a_store_that_is_dead_or_not_there_is_named(s3: S3Server, tmp_path: Path) -> None:
    one = store(tmp_path, "one")
    one.put(BLOB)
    with pytest.raises(BadInput, match="no such bucket"):
        open_blobs(tmp_path, "s3://another/fleet").put(b"x")
    with pytest.raises(BadInput, match="no store that we know"):
        open_blobs(tmp_path, "ftp://models")
    await s3.kill()
    with pytest.raises(Unavailable, match=f"blobs: {URL} cannot be had"):
        await asyncio.to_thread(one.put, b"more")
    assert one.read(DIGEST) == BLOB, "what was read here is still served"
    await s3.start()
    await asyncio.to_thread(one.put, b"more")


async def test_two_coordinators_share_a_bucket(s3: S3Server, tmp_path: Path, mortal_redis: MortalRedis) -> None:
    fleet = SeveralCoordinators(tmp_path, mortal_redis)
    async with open_core(fleet.settings(0, blobs=URL)) as core:
        credential, blob = await node_of(core, "n1"), await asyncio.to_thread(core.blobs.put, BLOB)
        await core.ledger.commit(Change((Write("desired", "n1", dump(Desired(benchmarks=(blob,))), 0),)))
        joined = {"LITTORAL_KEYS_DIR": str(fleet.copied_keys()), "LITTORAL_BLOBS": URL}
        async with fleet.serving(1, joined) as second, NodeClient(second.fleet, core.trust.ca.pem, credential) as node:
            parts = [part async for part in node.blobs.GetBlob(blob_pb2.GetBlobRequest(digest=blob, offset=99_000))]
            assert b"".join(part.data for part in parts) == BLOB[99_000:]
