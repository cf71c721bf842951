"""A node that is taken out loses all that it has open, on every coordinator, and hears why; one that runs twice is seen."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from littoral.digest import digest_of
from littoral.errors import BadInput, NotFound
from littoral.fleet.v1 import blob_pb2, session_pb2
from littoral_cloud.fleet.admitting import accept, reject, replace_node, revoke
from littoral_cloud.fleet.ledger import Change, Ledger, Write
from littoral_cloud.fleet.nodes import decommission, find_node, view_nodes
from littoral_cloud.fleet.records import Desired, DesiredModel, Enrolment, FederatedTask, Node, dump, load
from littoral_cloud.fleet.sessions import desired_of
from tests.kit.fleet import Fleet, open_fleet, until_written
from tests.kit.node_client import Line, hello_word
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis",)

REVOKED = session_pb2.RefusalReason.REFUSAL_REASON_NODE_REVOKED
BIG = os.urandom(20_000_000)
"""More than a stream's window: the coordinator waits for the node to read."""
TASK = FederatedTask(run_id="r", message_id="m1", message_digest="sha256:" + "0" * 64, message_bytes=9**7, round=1)
SECONDS = 5.0


@pytest.fixture
async def fleets(ledger: Ledger, tmp_path: Path) -> AsyncIterator[tuple[Fleet, Fleet]]:
    """Two coordinators of one fleet."""
    blobs = tmp_path / "blobs"
    async with open_fleet(ledger, blobs) as first, open_fleet(ledger, blobs, authority=first.authority) as second:
        yield first, second


async def refusal_of(line: Line) -> session_pb2.Refusal:
    async with asyncio.timeout(PATIENCE_S):
        while (word := await line.call.read()) is not grpc.aio.EOF:
            if word.WhichOneof("message") == "refusal":
                refusal: session_pb2.Refusal = word.refusal
                return refusal
    raise AssertionError("the stream ended without a refusal")


async def read_to_the_end(call: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await call.read() is not grpc.aio.EOF:
            continue


Out = Callable[[Ledger], Awaitable[Any]]


@pytest.mark.parametrize(
    "out",
    [lambda ledger: revoke(ledger, "n1", reason="stolen", actor="ann"), lambda ledger: decommission(ledger, "n1", "ann")],
    ids=["revoked", "decommissioned"],
)
async def test_sessions_and_blobs_end_within_seconds_on_every_coordinator(fleets: tuple[Fleet, Fleet], out: Out) -> None:
    first, second = fleets
    credential = await first.enrol("n1")
    other = await first.enrol("n2")
    digest = first.blobs.put(BIG)
    for node in ("n1", "n2"):
        await first.want(node, Desired(benchmarks=(digest,)))
    async with first.client(credential) as one, second.client(credential) as slow, second.client(other) as untouched:
        line = await one.begin()
        stays = untouched.blobs.GetBlob(blob_pb2.GetBlobRequest(digest=digest))
        await stays.read()
        reading = slow.blobs.GetBlob(blob_pb2.GetBlobRequest(digest=digest))
        await reading.read()  # and no further: the coordinator waits in a write
        began = asyncio.get_running_loop().time()
        await out(first.ledger)
        refusal = await refusal_of(line)
        assert (refusal.reason, refusal.retry_after_s, "ask the operator" in refusal.detail) == (REVOKED, 0.0, True)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await read_to_the_end(reading)
        assert (error.value.code(), str(error.value.details())[:9]) == (grpc.StatusCode.PERMISSION_DENIED, "revoked: ")
        assert asyncio.get_running_loop().time() - began < SECONDS
        await read_to_the_end(stays)
        for fleet in fleets:
            async with fleet.client(credential) as client:
                again = client.open()
                await again.say(hello=hello_word())
                assert (await refusal_of(again)).reason == REVOKED


async def test_an_upload_ends_and_its_run_waits_no_longer(fleets: tuple[Fleet, Fleet]) -> None:
    first, second = fleets
    credential = await first.enrol("n1")
    await first.want("n1", Desired(federated=TASK))
    async with second.client(credential) as client:
        putting = client.blobs.PutBlob()
        header = blob_pb2.PutBlobHeader(digest=digest_of(BIG), total_bytes=len(BIG) // 2, offset=0)
        await putting.write(blob_pb2.PutBlobRequest(header=header))
        await putting.write(blob_pb2.PutBlobRequest(data=BIG[:1000]))
        async with first.ledger.watch("uploads") as written:
            while await first.ledger.get("uploads", "n1") is None:
                await anext(written)
        await revoke(first.ledger, "n1", reason="", actor="ann")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await asyncio.wait_for(putting, PATIENCE_S)
        assert str(error.value.details()).startswith("revoked: ")
    reply = await until_written(first.ledger, "federated_reply", TASK.message_id)
    assert (reply.body["failure"], reply.body["node_id"]) == ("revoked", "n1")
    assert (await desired_of(first.ledger, "n1"))[1].federated is None


async def test_one_that_is_accepted_again_has_its_documents(fleets: tuple[Fleet, Fleet]) -> None:
    first, _ = fleets
    credential = await first.enrol("n1")
    await first.want("n1", Desired(benchmarks=("sha256:" + "1" * 64,)))
    await revoke(first.ledger, "n1", reason="", actor="ann")
    await accept(first.ledger, "n1", first.clock(), actor="bob")
    async with first.client(credential) as client:
        line = await client.begin()
        assert line.desired is not None
        assert line.desired.benchmarks == ["sha256:" + "1" * 64]
    told = [(line.action, line.actor) for line in await first.ledger.audit() if line.actor in ("ann", "bob")]
    assert told == [("node.revoked", "ann"), ("node.accepted", "bob")]


@pytest.mark.parametrize("state", list(Enrolment))
async def test_what_an_operator_may_decide_of_a_node_in_each_state(ledger: Ledger, state: Enrolment) -> None:
    """The table of littoral_cloud/fleet/admitting.py."""
    table = {
        Enrolment.PENDING: ("accepted", "rejected", "revoked"),
        Enrolment.ACCEPTED: ("accepted", None, "revoked"),
        Enrolment.REVOKED: ("accepted", None, "revoked"),
        Enrolment.REJECTED: (None, "rejected", None),
        Enrolment.DECOMMISSIONED: (None, None, None),
    }
    decide: tuple[Out, ...] = (
        lambda ledger: accept(ledger, "n", 5.0, actor="ann"),
        lambda ledger: reject(ledger, "n", actor="ann"),
        lambda ledger: revoke(ledger, "n", reason="r", actor="ann"),
    )
    for expected, decision in zip(table[state], decide, strict=True):
        node = Node(
            node_id="n",
            name="buoy",
            enrolment=state,
            public_key_sha256="",
            certificate_sha256="",
            certificate_expires_at=0.0,
            enrolled_at=0.0,
        )
        await ledger.commit(Change((Write("node", "n", dump(node), None),)))
        lines = len(await ledger.audit())
        if expected is None:
            with pytest.raises(BadInput, match="node buoy"):
                await decision(ledger)
            expected = state.value
        else:
            await decision(ledger)
        doc = await ledger.get("node", "n")
        assert doc is not None
        assert load(Node, doc).enrolment.value == expected
        assert len(await ledger.audit()) - lines == (expected != state.value)


async def test_a_decision_names_what_is_wrong_with_it(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="'ghost'"):
        await revoke(ledger, "ghost", reason="", actor="ann")
    for reason in ("x" * 201, "two\nlines", "\x1b[31m"):
        with pytest.raises(BadInput, match="reason: "):
            await revoke(ledger, "ghost", reason=reason, actor="ann")
    assert await ledger.audit() == []


async def test_two_machines_with_one_key_at_two_coordinators_are_seen_and_none_is_thrown_out(fleets: tuple[Fleet, Fleet]) -> None:
    first, second = fleets
    credential = await first.enrol("n1")
    async with first.client(credential) as one, second.client(credential) as two:
        line = await one.begin(boot_id="a" * 32, connection=4)
        other = await two.begin(boot_id="b" * 32, connection=4)
        [view] = await view_nodes(first.ledger, first.clock())
        assert view.state == "cloned"
        assert len(view.twins) == 2
        await first.want("n1", Desired(benchmarks=("sha256:" + "1" * 64,)))
        for each in (line, other):  # both sessions are open
            assert (await each.hear("desired")).benchmarks
        again = one.open()
        await again.say(hello=hello_word(boot_id="a" * 32, connection=5))
        assert (await again.hear("welcome")).connection == 4
    assert [line.action for line in await first.ledger.audit()].count("node.twice") == 1


async def test_a_node_takes_the_place_of_another(fleets: tuple[Fleet, Fleet]) -> None:
    first, _ = fleets
    ledger = first.ledger
    before, after = await first.enrol("n1"), await first.enrol("n2")
    for id, name in (("n1", "gateway"), ("n2", "gateway-2")):
        doc = await ledger.get("node", id)
        assert doc is not None
        node = replace(load(Node, doc), name=name, labels={"site": id})
        await ledger.commit(Change((Write("node", id, dump(node), doc.generation), Write("node-name", name, {"node_id": id}, 0))))
    kept = DesiredModel(manifest_digest="sha256:" + "1" * 64, rollout_id="r", generation=4)
    await first.want("n1", Desired(models={"digits": kept}, federated=TASK))
    async with first.client(before) as old, first.client(after) as new:
        line, other = await old.begin(), await new.begin()
        made = await replace_node(ledger, "gateway", "gateway-2", first.clock(), actor="ann")
        assert (made.node_id, made.name, made.labels) == ("n2", "gateway", {"site": "n1"})
        assert (await refusal_of(line)).reason == REVOKED
        wanted = (await other.hear("desired")).models["digits"]
        assert (wanted.manifest_digest, wanted.generation) == (kept.manifest_digest, 1)
    assert (await find_node(ledger, "gateway")).node_id == "n2"
    with pytest.raises(NotFound):
        await find_node(ledger, "gateway-2")
    assert await ledger.get("desired", "n1") is None
    lines = [(line.action, line.subject) for line in await ledger.audit() if line.actor == "ann"]
    assert lines == [("node.replaced", "n2"), ("node.decommissioned", "n1")]
    for old_name, new_name, wrong in (("n2", "n2", "cannot replace itself"), ("n1", "n2", "is decommissioned")):
        with pytest.raises(BadInput, match=wrong):
            await replace_node(ledger, old_name, new_name, first.clock(), actor="ann")
    await first.enrol("n3")
    await revoke(ledger, "n3", reason="", actor="ann")
    with pytest.raises(BadInput, match="name-of-n3: is revoked"):
        await replace_node(ledger, "n2", "n3", first.clock(), actor="ann")
    with pytest.raises(NotFound, match="'ghost'"):
        await replace_node(ledger, "n2", "ghost", first.clock(), actor="ann")
