"""Blobs over real gRPC: from any byte, to whom they belong, and not beyond their limits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import grpc
import pytest

from cloud.fleet.ledger import Ledger
from cloud.fleet.records import Desired, FederatedTask
from littoral.digest import digest_of
from littoral.fleet.v1 import blob_pb2
from littoral.transport import CHUNK_BYTES, MAX_BLOB_BYTES
from tests.kit.fleet import Fleet, open_fleet
from tests.kit.node_client import NodeClient
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis",)

BLOB = bytes(range(256)) * 3000  # 768,000 bytes: two chunks and a piece
DIGEST = digest_of(BLOB)
TASK = Desired(federated=FederatedTask(run_id="r", message_id="m", message_digest=DIGEST, message_bytes=len(BLOB), round=1))


@pytest.fixture
async def fleet(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(ledger, tmp_path / "blobs") as opened:
        yield opened


@pytest.fixture
async def node(fleet: Fleet) -> AsyncIterator[NodeClient]:
    async with fleet.client(await fleet.enrol("n1")) as client:
        yield client


async def get(node: NodeClient, digest: str, offset: int = 0) -> tuple[int, bytes]:
    call = node.blobs.GetBlob(blob_pb2.GetBlobRequest(digest=digest, offset=offset))
    messages = [message async for message in call]
    assert all(len(message.data) <= CHUNK_BYTES for message in messages)
    return messages[0].total_bytes, b"".join(message.data for message in messages)


def parts(data: bytes, *, digest: str = "", offset: int = 0, total: int | None = None) -> Iterable[blob_pb2.PutBlobRequest]:
    size = len(data) if total is None else total
    yield blob_pb2.PutBlobRequest(
        header=blob_pb2.PutBlobHeader(digest=digest or digest_of(data), total_bytes=size, offset=offset)
    )
    for start in range(offset, len(data), CHUNK_BYTES):
        yield blob_pb2.PutBlobRequest(data=data[start : start + CHUNK_BYTES])


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        async with asyncio.timeout(PATIENCE_S):
            await call
    return error.value.code(), str(error.value.details())


@pytest.mark.parametrize("offset", [0, 1, CHUNK_BYTES, len(BLOB) - 1, len(BLOB)])
async def test_a_blob_comes_from_any_byte(fleet: Fleet, node: NodeClient, offset: int) -> None:
    fleet.blobs.put(BLOB)
    assert await get(node, DIGEST, offset) == (len(BLOB), BLOB[offset:])


async def test_an_empty_blob_is_a_blob(fleet: Fleet, node: NodeClient) -> None:
    assert await get(node, fleet.blobs.put(b"")) == (0, b"")


async def test_what_cannot_be_got_says_why(fleet: Fleet, node: NodeClient) -> None:
    fleet.blobs.put(BLOB)
    code, text = await refused(get(node, DIGEST, len(BLOB) + 1))
    assert code is grpc.StatusCode.OUT_OF_RANGE
    assert "past the end" in text
    assert (await refused(get(node, "sha256:" + "0" * 64)))[0] is grpc.StatusCode.NOT_FOUND
    assert (await refused(get(node, "sha256:../../etc/passwd")))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_node_that_was_decommissioned_gets_nothing_over_its_open_connection(fleet: Fleet, node: NodeClient) -> None:
    fleet.blobs.put(BLOB)
    await get(node, DIGEST)
    await fleet.decommission("n1")
    code, text = await refused(get(node, DIGEST))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert text.startswith("not-accepted: ")


async def test_only_a_node_that_a_run_waits_for_may_put(fleet: Fleet, node: NodeClient) -> None:
    assert (await refused(node.blobs.PutBlob(iter(parts(BLOB)))))[0] is grpc.StatusCode.PERMISSION_DENIED
    await fleet.want("n1", TASK)
    assert (await node.blobs.PutBlob(iter(parts(BLOB)))).total_bytes == len(BLOB)
    assert fleet.blobs.read(DIGEST) == BLOB
    held = await node.blobs.StatBlob(blob_pb2.StatBlobRequest(digest=DIGEST))
    assert (held.held_bytes, held.complete) == (len(BLOB), True)


async def test_an_upload_that_broke_goes_on_at_the_byte(fleet: Fleet, node: NodeClient) -> None:
    await fleet.want("n1", TASK)
    first = parts(BLOB[: CHUNK_BYTES + 7], digest=DIGEST, total=len(BLOB))
    assert (await refused(node.blobs.PutBlob(iter(first))))[0] is grpc.StatusCode.UNAVAILABLE
    held = await node.blobs.StatBlob(blob_pb2.StatBlobRequest(digest=DIGEST))
    assert (held.held_bytes, held.complete) == (CHUNK_BYTES + 7, False)
    assert (await refused(node.blobs.PutBlob(iter(parts(BLOB)))))[0] is grpc.StatusCode.FAILED_PRECONDITION
    await node.blobs.PutBlob(iter(parts(BLOB, offset=held.held_bytes)))
    assert fleet.blobs.read(DIGEST) == BLOB


async def test_two_uploads_of_one_blob_are_one(fleet: Fleet, node: NodeClient) -> None:
    await fleet.want("n1", TASK)
    await asyncio.gather(*(node.blobs.PutBlob(iter(parts(BLOB))) for _ in range(4)))
    assert fleet.blobs.read(DIGEST) == BLOB


async def test_bytes_that_are_not_what_they_are_called_are_not_kept(fleet: Fleet, node: NodeClient) -> None:
    await fleet.want("n1", TASK)
    flipped = bytes([BLOB[0] ^ 1]) + BLOB[1:]
    assert (await refused(node.blobs.PutBlob(iter(parts(flipped, digest=DIGEST)))))[0] is grpc.StatusCode.DATA_LOSS
    assert not fleet.blobs.has(DIGEST)
    await node.blobs.PutBlob(iter(parts(BLOB)))


async def test_more_than_is_allowed_or_named_is_refused(fleet: Fleet, node: NodeClient) -> None:
    await fleet.want("n1", TASK)
    huge = parts(b"", digest=DIGEST, total=MAX_BLOB_BYTES + 1)
    assert (await refused(node.blobs.PutBlob(iter(huge))))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await refused(node.blobs.PutBlob(iter(parts(BLOB, total=10)))))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_upload_begins_with_its_header(fleet: Fleet, node: NodeClient) -> None:
    await fleet.want("n1", TASK)
    headless = list(parts(BLOB))[1:]
    code, text = await refused(node.blobs.PutBlob(iter(headless)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "wanted header, got data" in text
    assert (await refused(node.blobs.PutBlob(iter([]))))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_fails_inside_stays_inside(fleet: Fleet, node: NodeClient, tmp_path: Path) -> None:
    place = fleet.blobs.path(fleet.blobs.put(BLOB))
    place.unlink()
    os.mkdir(place)
    code, text = await refused(get(node, DIGEST))
    assert code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.NOT_FOUND)
    assert str(tmp_path) not in text
