"""Messages and replies through a real ledger, with nodes that a test plays by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from littoral import codec
from littoral.errors import Conflict
from littoral_cloud.federation.exchange import (
    ASKED_AGAIN,
    REPLY_SLACK,
    Exchange,
    QuorumMissed,
    forget_run,
    reply_limit,
)
from littoral_cloud.federation.participants import TooFewNodes, following
from littoral_cloud.fleet.admitting import revoke
from littoral_cloud.fleet.ledger import Change, Ledger, Write
from littoral_cloud.fleet.records import AWAY_S, Desired, DesiredModel, Enrolment, dump, load
from littoral_cloud.fleet.sessions import FederatedAnswer, desired_of, note_answer
from littoral_cloud.store.blobs import BlobFolder
from tests.kit.federation import enrol
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis",)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path / "blobs")


@pytest.fixture
def exchange(ledger: Ledger, blobs: BlobFolder) -> Exchange:
    return Exchange(ledger, blobs, "r", None)


@asynccontextmanager
async def answering(
    ledger: Ledger, blobs: BlobFolder, node: str, *, failure: str = "", failing: int = 99
) -> AsyncIterator[list[str]]:
    """A node that answers each task with its message twice over, or so many of them with a failure; the ids of its tasks."""
    seen: list[str] = []

    async def play() -> None:
        async with ledger.watch("desired") as news:
            while True:
                task = (await desired_of(ledger, node))[1].federated
                if task is not None and task.message_id not in seen:
                    seen.append(task.message_id)
                    fails = failure and len(seen) <= failing
                    reply = "" if fails else blobs.put(blobs.read(task.message_digest) * 2)
                    said = failure if fails else ""
                    await note_answer(ledger, node, FederatedAnswer("r", task.message_id, reply, said, "as the test wants"))
                await anext(news)

    player = asyncio.create_task(play())
    try:
        yield seen
    finally:
        player.cancel()
        await asyncio.gather(player, return_exceptions=True)


async def ask(exchange: Exchange, nodes: Sequence[str], *, quorum: int = 2, within_s: float = 10.0):  # type: ignore[no-untyped-def]
    return await exchange.ask(
        {node: f"to {node} ".encode() for node in nodes}, number=1, kind="train", quorum=quorum, within_s=within_s
    )


async def test_each_node_gets_its_message_and_its_reply_comes_back(exchange: Exchange, ledger: Ledger, blobs: BlobFolder) -> None:
    async with answering(ledger, blobs, "a"), answering(ledger, blobs, "b"):
        outcomes = await ask(exchange, ["a", "b"])
    assert [(o.node_id, o.reply) for o in outcomes] == [("a", b"to a to a "), ("b", b"to b to b ")]


async def test_a_failed_and_a_silent_node_are_left_out_while_the_quorum_holds(
    exchange: Exchange, ledger: Ledger, blobs: BlobFolder
) -> None:
    async with answering(ledger, blobs, "a"), answering(ledger, blobs, "b"), answering(ledger, blobs, "c", failure="oom"):
        outcomes = await ask(exchange, ["a", "b", "c", "d"], within_s=3.0)
    assert {o.node_id: o.failure for o in outcomes} == {"a": "", "b": "", "c": "oom", "d": "silent"}
    lines = [line for line in await ledger.audit() if line.action == "node.round-failed"]
    assert [(line.subject, line.details["code"]) for line in lines] == [("c", "oom"), ("d", "silent")]


async def test_a_round_whose_quorum_cannot_be_had_any_more_fails_at_once(
    exchange: Exchange, ledger: Ledger, blobs: BlobFolder
) -> None:
    async with answering(ledger, blobs, "a"), answering(ledger, blobs, "b", failure="oom"), asyncio.timeout(PATIENCE_S):
        with pytest.raises(QuorumMissed, match=r"1 of 2 nodes replied well, 2 are needed \(b: oom"):
            await ask(exchange, ["a", "b"], within_s=3600)


async def test_asking_again_after_a_restart_takes_the_replies_that_are_there_and_writes_no_intent(
    exchange: Exchange, ledger: Ledger, blobs: BlobFolder
) -> None:
    async with answering(ledger, blobs, "a") as first:
        with pytest.raises(QuorumMissed):
            await ask(exchange, ["a", "b"], within_s=2.0)
    generations = {doc.id: doc.generation for doc in await ledger.all("desired")}
    async with answering(ledger, blobs, "b"):
        outcomes = await ask(Exchange(ledger, blobs, "r", None), ["a", "b"])
    assert all(o.reply for o in outcomes)
    assert first == ["r.1.train.a"]
    assert {doc.id: doc.generation for doc in await ledger.all("desired")} == generations


async def test_only_the_federated_field_of_a_nodes_intent_is_touched_also_when_somebody_else_writes_meanwhile(
    exchange: Exchange, ledger: Ledger, blobs: BlobFolder
) -> None:
    async def others() -> None:
        for number in range(20):
            while True:
                doc = await ledger.get("desired", "a")
                desired = (load(Desired, doc) if doc else Desired()).with_model(
                    f"m{number}", DesiredModel(manifest_digest="sha256:" + "a" * 64, rollout_id="x", generation=1)
                )
                try:
                    await ledger.commit(Change((Write("desired", "a", dump(desired), doc.generation if doc else 0),)))
                except Conflict:
                    continue
                break

    async with answering(ledger, blobs, "a"), answering(ledger, blobs, "b"):
        await asyncio.gather(others(), ask(exchange, ["a", "b"]))
    _, desired = await desired_of(ledger, "a")
    assert len(desired.models) == 20
    assert desired.federated is not None

    await forget_run(ledger, "r", None)
    _, desired = await desired_of(ledger, "a")
    assert len(desired.models) == 20
    assert desired.federated is None
    assert await ledger.all("federated_reply") == []


async def test_a_reply_that_another_node_wrote_does_not_count(exchange: Exchange, ledger: Ledger, blobs: BlobFolder) -> None:
    body = {"run_id": "r", "node_id": "mallory", "reply_digest": blobs.put(b"poison"), "failure": "", "detail": ""}
    await ledger.commit(Change((Write("federated_reply", "r.1.train.a", body, 0),)))
    with pytest.raises(QuorumMissed, match="silent"):
        await ask(exchange, ["a"], quorum=1, within_s=0.3)


async def test_a_reply_whose_blob_is_not_there_is_a_failure_of_its_node(
    exchange: Exchange, ledger: Ledger, blobs: BlobFolder
) -> None:
    body = {"run_id": "r", "node_id": "a", "reply_digest": "sha256:" + "e" * 64, "failure": "", "detail": ""}
    await ledger.commit(Change((Write("federated_reply", "r.1.train.a", body, 0),)))
    with pytest.raises(QuorumMissed, match="a: not-found"):
        await ask(exchange, ["a"], quorum=1)


async def test_who_can_take_part_is_accepted_connected_able_and_has_data(exchange: Exchange, ledger: Ledger) -> None:
    await enrol(ledger, "a")
    await enrol(ledger, "b")
    await enrol(ledger, "gone", connected=False)
    await enrol(ledger, "empty", examples=0)
    await enrol(ledger, "out")
    doc = await ledger.get("node", "out")
    assert doc is not None
    await ledger.commit(Change((Write("node", "out", {**doc.body, "enrolment": Enrolment.DECOMMISSIONED.value}, None),)))
    async with following(ledger) as participants:
        for cohort, able in ((), ("a", "b")), (("b", "gone"), ("b",)):
            assert await participants.gather_nodes("digits", cohort, at_least=1, hoped=(), within_s=0.0) == able
        assert await participants.examples_of(("a", "empty", "nobody"), "digits") == {"a": 60, "empty": 0, "nobody": 0}


async def test_a_run_waits_for_nodes_and_gives_up_with_a_reason(ledger: Ledger) -> None:
    async with following(ledger) as participants:
        with pytest.raises(TooFewNodes, match="0 can take part, 2 are needed"):
            await participants.gather_nodes("m", (), at_least=2, hoped=(), within_s=0.2)
        waiting = asyncio.create_task(participants.gather_nodes("m", (), at_least=2, hoped=(), within_s=60))
        await enrol(ledger, "a")
        await enrol(ledger, "b")
        async with asyncio.timeout(PATIENCE_S):
            assert await waiting == ("a", "b")


async def test_a_node_that_went_a_moment_ago_is_waited_for(ledger: Ledger) -> None:
    now, asked = AWAY_S - 1.0, asyncio.Event()  # it went at 0

    def clock() -> float:
        asked.set()
        return now

    await enrol(ledger, "a", connected=False)
    async with following(ledger, clock) as participants:
        waiting = asyncio.create_task(participants.gather_nodes("m", (), at_least=1, hoped=(), within_s=0.0))
        async with asyncio.timeout(PATIENCE_S):
            await asked.wait()
            await enrol(ledger, "a")
            assert await waiting == ("a",)
        await enrol(ledger, "a", connected=False)
        now = AWAY_S
        with pytest.raises(TooFewNodes, match="0 can take part, 1 are needed"):
            await participants.gather_nodes("m", (), at_least=1, hoped=(), within_s=0.0)


async def test_a_node_whose_work_was_disturbed_is_asked_again_within_the_round(
    exchange: Exchange, ledger: Ledger, blobs: BlobFolder
) -> None:
    async with answering(ledger, blobs, "a", failure="worker-died", failing=ASKED_AGAIN) as seen, answering(ledger, blobs, "b"):
        outcomes = await ask(exchange, ["a", "b"])
    assert [o.reply is not None for o in outcomes] == [True, True]
    assert seen == ["r.1.train.a", "r.1.train.a.1", "r.1.train.a.2"]
    async with answering(ledger, blobs, "a"):  # a worker that starts again finds what was answered, and asks nobody
        assert (await ask(exchange, ["a", "b"]))[0].reply == outcomes[0].reply


async def test_one_that_is_disturbed_each_time_or_cannot_do_it_is_not_asked_for_ever(
    exchange: Exchange, ledger: Ledger, blobs: BlobFolder
) -> None:
    async with (
        answering(ledger, blobs, "a", failure="worker-died") as often,
        answering(ledger, blobs, "b", failure="bad-data") as once,
        answering(ledger, blobs, "c"),
    ):
        outcomes = await ask(exchange, ["a", "b", "c"], quorum=1)
    assert [o.failure for o in outcomes] == ["worker-died", "bad-data", ""]
    assert (len(often), len(once)) == (1 + ASKED_AGAIN, 1)


async def reply_with(ledger: Ledger, blobs: BlobFolder, data: bytes) -> None:
    body = {"run_id": "r", "node_id": "a", "reply_digest": blobs.put(data), "failure": "", "detail": ""}
    await ledger.commit(Change((Write("federated_reply", "r.1.train.a", body, 0),)))


async def test_a_message_travels_coded_to_a_node_that_can_and_its_coded_reply_is_decoded(
    exchange: Exchange, ledger: Ledger, blobs: BlobFolder
) -> None:
    await enrol(ledger, "a")
    await enrol(ledger, "old", coded=False)
    message, reply = b"weights " * 1000, b"updates " * 1000
    came: dict[str, bytes] = {}

    async def node(name: str) -> None:
        async with ledger.watch("desired") as news:
            while (task := (await desired_of(ledger, name))[1].federated) is None:
                await anext(news)
        came[name] = blobs.read(task.message_digest)
        assert task.message_bytes == len(came[name])
        answer = codec.encode(reply) if codec.is_coded(came[name]) else reply
        await note_answer(ledger, name, FederatedAnswer("r", task.message_id, blobs.put(answer), "", ""))

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as nodes:
        for name in ("a", "old"):
            nodes.create_task(node(name))
        outcomes = await exchange.ask({"a": message, "old": message}, number=1, kind="train", quorum=2, within_s=20)
    assert codec.decode(came["a"], limit=len(message)) == message == came["old"]
    assert [outcome.reply for outcome in outcomes] == [reply, reply]
    assert [outcome.sent_bytes for outcome in outcomes] == [len(came["a"]), 8000]
    assert outcomes[0].reply_bytes < 100 < outcomes[1].reply_bytes == 8000


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (codec.encode(bytes(REPLY_SLACK * 2)), "too-large"),  # a few bytes that would unfold to two million
        (bytes(REPLY_SLACK * 2), "too-large"),
        (codec.encode(bytes(1000))[:-3], "bad-coding"),
        (b"L\x10\x08\xff\xff\x3fnothing", "bad-coding"),
    ],
)
async def test_a_hostile_reply_is_a_failure_of_its_node_and_costs_no_more_than_its_limit(
    exchange: Exchange, ledger: Ledger, blobs: BlobFolder, reply: bytes, failure: str
) -> None:
    assert reply_limit(100) < 2 * REPLY_SLACK
    await enrol(ledger, "a")
    await reply_with(ledger, blobs, reply)
    with pytest.raises(QuorumMissed, match=f"a: {failure}"):
        await ask(exchange, ["a"], quorum=1)


async def test_a_node_that_was_taken_out_is_not_waited_for(exchange: Exchange, ledger: Ledger, blobs: BlobFolder) -> None:
    for node in ("a", "b", "late"):
        await enrol(ledger, node, coded=False)
    await revoke(ledger, "late", reason="", actor="ann")  # between the choice of the nodes and the asking

    async def out_when_asked() -> None:
        async with ledger.watch("desired") as news:
            while (await desired_of(ledger, "b"))[1].federated is None:
                await anext(news)
        await revoke(ledger, "b", reason="", actor="ann")

    async with answering(ledger, blobs, "a"):
        outing = asyncio.create_task(out_when_asked())
        outcomes = await ask(exchange, ["a", "b", "late"], quorum=1, within_s=PATIENCE_S)
        await outing
    assert {o.node_id: o.failure for o in outcomes} == {"a": "", "b": "revoked", "late": "revoked"}
