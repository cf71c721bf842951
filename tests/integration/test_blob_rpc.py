"""Blobs over real gRPC: from any byte, to whom they belong, and not beyond their limits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.digest import digest_of
from littoral.fleet.v1 import blob_pb2
from littoral.manifest import File, Transfer
from littoral.transport import CHUNK_BYTES, MAX_BLOB_BYTES
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.records import Desired, DesiredModel, FederatedTask
from littoral_cloud.fleet.transfers import REPLIES
from tests.kit.fleet import Fleet, open_fleet
from tests.kit.models import artifact
from tests.kit.node_client import NodeClient
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis",)

BLOB = bytes(range(256)) * 3000  # 768,000 bytes: two chunks and a piece
DIGEST = digest_of(BLOB)
NOWHERE = "sha256:" + "0" * 64
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
    await fleet.want("n1", TASK)
    fleet.blobs.put(BLOB)
    assert await get(node, DIGEST, offset) == (len(BLOB), BLOB[offset:])


async def test_an_empty_blob_is_a_blob(fleet: Fleet, node: NodeClient) -> None:
    digest = fleet.blobs.put(b"")
    await fleet.want("n1", Desired(benchmarks=(digest,)))
    assert await get(node, digest) == (0, b"")


async def test_what_cannot_be_got_says_why(fleet: Fleet, node: NodeClient) -> None:
    await fleet.want("n1", replace(TASK, benchmarks=(NOWHERE,)))
    fleet.blobs.put(BLOB)
    code, text = await refused(get(node, DIGEST, len(BLOB) + 1))
    assert code is grpc.StatusCode.OUT_OF_RANGE
    assert "past the end" in text
    assert (await refused(get(node, NOWHERE)))[0] is grpc.StatusCode.NOT_FOUND
    assert (await refused(get(node, "sha256:../../etc/passwd")))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_node_that_was_decommissioned_gets_nothing_over_its_open_connection(fleet: Fleet, node: NodeClient) -> None:
    await fleet.want("n1", TASK)
    fleet.blobs.put(BLOB)
    await get(node, DIGEST)
    await fleet.decommission("n1")
    code, text = await refused(get(node, DIGEST))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert text.startswith("revoked: ")


async def test_only_a_node_that_a_run_waits_for_may_put(fleet: Fleet, node: NodeClient) -> None:
    assert (await refused(node.blobs.PutBlob(iter(parts(BLOB)))))[0] is grpc.StatusCode.PERMISSION_DENIED
    await fleet.want("n1", TASK)
    assert (await node.blobs.PutBlob(iter(parts(BLOB)))).total_bytes == len(BLOB)
    assert fleet.blobs.read(DIGEST) == BLOB
    held = await node.blobs.StatBlob(blob_pb2.StatBlobRequest(digest=DIGEST))
    assert (held.stored_bytes, held.complete) == (len(BLOB), True)


async def test_an_upload_that_broke_goes_on_at_the_byte(fleet: Fleet, node: NodeClient) -> None:
    await fleet.want("n1", TASK)
    first = parts(BLOB[: CHUNK_BYTES + 7], digest=DIGEST, total=len(BLOB))
    assert (await refused(node.blobs.PutBlob(iter(first))))[0] is grpc.StatusCode.UNAVAILABLE
    held = await node.blobs.StatBlob(blob_pb2.StatBlobRequest(digest=DIGEST))
    assert (held.stored_bytes, held.complete) == (CHUNK_BYTES + 7, False)
    assert (await refused(node.blobs.PutBlob(iter(parts(BLOB)))))[0] is grpc.StatusCode.FAILED_PRECONDITION
    await node.blobs.PutBlob(iter(parts(BLOB, offset=held.stored_bytes)))
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
    await fleet.want("n1", TASK)
    place = fleet.blobs.path(fleet.blobs.put(BLOB))
    place.unlink()
    os.mkdir(place)
    code, text = await refused(get(node, DIGEST))
    assert code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.NOT_FOUND)
    assert str(tmp_path) not in text


def wanted(*digests: str, **fields: Any) -> Desired:
    model = {f"m{n}": DesiredModel(manifest_digest=each, rollout_id="r", generation=1) for n, each in enumerate(digests)}
    return Desired(models=model, **fields)


async def test_a_node_reads_what_its_desired_state_names_and_nothing_else(fleet: Fleet, node: NodeClient, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    lies, travels, other = (fleet.blobs.put(data) for data in (b"a file", b"as it travels", b"of another artifact"))
    files = (File("a", lies, 6), File("b", NOWHERE, 9, Transfer("littoral-1", travels, 13)))
    mine, theirs, trial, before = (
        fleet.blobs.put(replace(artifact(tmp_path / name), name=name, files=named).seal(key))
        for name, named in (("mine", files), ("theirs", (File("a", other, 19),)), ("trial", files), ("before", files[:1]))
    )
    reply = fleet.blobs.put(b"what another node learnt")
    await fleet.want("n1", wanted(mine, benchmarks=(trial,), former=(before,), federated=TASK.federated))
    fleet.blobs.put(BLOB)
    for digest in (mine, trial, before, lies, travels, DIGEST):
        await get(node, digest)
    for digest in (theirs, other, reply, NOWHERE.replace("0", "1")):
        code, text = await refused(get(node, digest))
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert f"blob {digest[:19]}: is not wanted of node n1" in text
    await fleet.want("n1", Desired())
    assert (await refused(get(node, mine)))[0] is grpc.StatusCode.PERMISSION_DENIED
    assert (await refused(node.blobs.StatBlob(blob_pb2.StatBlobRequest(digest=reply))))[0] is grpc.StatusCode.PERMISSION_DENIED


async def test_one_that_was_replaced_can_still_be_had_to_go_back_to() -> None:
    first, second = (DesiredModel(manifest_digest=f"sha256:{c * 64}", rollout_id="r", generation=1) for c in "ab")
    desired = Desired().with_model("m", first)
    assert desired.with_model("m", replace(first, generation=2)).former == ()
    desired = desired.with_model("m", second)
    assert (desired.former, desired.without_model("m").former) == (
        (first.manifest_digest,),
        (second.manifest_digest, first.manifest_digest),
    )
    assert desired.without_model("m").models == {}
    for _ in range(40):
        desired = desired.with_model("m", first).with_model("m", second)
    assert desired.former == (first.manifest_digest, second.manifest_digest)


async def test_a_task_takes_a_few_blobs_of_the_size_of_a_reply_over_all_connections(fleet: Fleet, node: NodeClient) -> None:
    task = replace(TASK.federated, reply_bytes=1_000)  # type: ignore[type-var]
    await fleet.want("n1", Desired(federated=task))
    code, text = await refused(node.blobs.PutBlob(iter(parts(bytes(1_001)))))
    assert (code, "1001 bytes, a reply to m may have 1000" in text) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
    for number in range(REPLIES):
        await node.blobs.PutBlob(iter(parts(bytes([number]) * 1_000)))
    await node.blobs.PutBlob(iter(parts(bytes([0]) * 1_000)))  # again
    code, text = await refused(node.blobs.PutBlob(iter(parts(b"one more"))))
    assert (code, "a task wants one reply" in text) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
    await fleet.want("n1", Desired(federated=replace(task, message_id="next")))
    await node.blobs.PutBlob(iter(parts(b"one more")))


async def test_without_a_word_of_it_a_reply_has_room_beside_its_message(fleet: Fleet, node: NodeClient) -> None:
    await fleet.want("n1", TASK)
    await node.blobs.PutBlob(iter(parts(BLOB * 4)))
    code, _ = await refused(node.blobs.PutBlob(iter(parts(b"", digest=DIGEST, total=100_000_000))))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
