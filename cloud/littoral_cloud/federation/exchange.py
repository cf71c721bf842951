"""Messages of a run to nodes and their replies back, as bytes: over the ledger's intent and blobs, knowing nothing of Flower.

A message is a blob; that a node should work on it is `Desired.federated`; that it has is a document "federated_reply" under
the message's id, which the session writes. All three survive a crash: a worker that starts again in the middle of a
round names the same ids, so a node that has trained answers from its cache, and one that has answered is not asked.

To a node with the feature CODED a message travels coded (littoral.codec), and so does its reply. A reply may be a few times as
large as the message: a hostile node costs the run that much memory and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from littoral import codec
from littoral.codec_errors import codec_errors
from littoral.errors import FleetError, Revoked, TooLarge
from littoral_cloud.federation.faults import NOT_FINITE
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.fleet.edit import edit
from littoral_cloud.fleet.ledger import AnnouncementFeed, Audit, Change, Fence, Ledger, Write
from littoral_cloud.fleet.profile import presence_of
from littoral_cloud.fleet.records import Desired, Enrolment, FederatedTask, Node, load

CODED = "coded-messages"
"""A node with this feature takes coded messages."""
REPLY_GROWTH = 4
REPLY_SLACK = 1 << 20
"""A reply may have REPLY_GROWTH times the bytes of its message and this many: the same arrays, and words of the node's own."""
REPLY = "federated_reply"
DISTURBED = frozenset({"worker-died"})
"""Failures that say nothing of the node's data or code: somebody, or the kernel, ended its training process."""
ASKED_AGAIN = 2
"""How often a node whose work was disturbed is asked for it again, within the round's time."""


class QuorumMissed(FleetError):
    """Too few good replies came in time."""

    code = "quorum-missed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one message. `reply` None: it failed, with a code; "silent" where nothing came in time.

    `sent_bytes`, `reply_bytes`: as they travelled; `reply` is decoded.
    """

    node_id: str
    sent_bytes: int
    reply: bytes | None = None
    reply_bytes: int = 0
    failure: str = ""
    detail: str = ""


def message_id(run_id: str, number: int, kind: str, node_id: str) -> str:
    """Depends on nothing that changes when a worker starts again."""
    return f"{run_id}.{number}.{kind}.{node_id}"


def check_quorum(number: int, outcomes: Collection[Outcome], quorum: int) -> None:
    """Raises QuorumMissed where fewer than `quorum` of the nodes replied well."""
    good = sum(o.reply is not None for o in outcomes)
    if good < quorum:
        what = ", ".join(f"{o.node_id}: {o.failure}" for o in outcomes if o.reply is None)
        diverged = good == 0 and all(o.failure == NOT_FINITE for o in outcomes)
        raise QuorumMissed(
            f"round {number}: {good} of {len(outcomes)} nodes replied well, {quorum} are needed ({what})",
            hint="lower --learning-rate" if diverged else "see the nodes' failures: littoral-cloud audit show",
        )


class Exchange:
    """Messages of one run to nodes, and their replies."""

    def __init__(
        self,
        ledger: Ledger,
        blobs: BlobStore,
        run_id: str,
        fence: Fence | None,
    ) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._run_id = run_id
        self._fence = fence

    async def ask(
        self, messages: Mapping[str, bytes], *, number: int, kind: str, quorum: int, within_s: float
    ) -> tuple[Outcome, ...]:
        """Gives every node its message and gathers what comes back, in the order of node ids.

        Args:
            messages: by node id.
            within_s: from now; a node that is silent for longer is left out of this round, no more.

        Raises QuorumMissed where fewer than `quorum` good replies came, or can come.
        """
        outcomes: dict[str, Outcome] = {}
        asked = {node: 1 for node in messages}
        pending = {message_id(self._run_id, number, kind, node): node for node in messages}
        async with self._ledger.watch(REPLY) as news:
            sent = {node: await self._ask_one(node, id, messages[node], number) for id, node in pending.items()}
            with contextlib.suppress(TimeoutError):  # nodes that are pending then are silent
                async with asyncio.timeout(within_s):
                    to_look = list(pending)
                    while True:
                        while to_look:
                            node = pending[id := to_look.pop(0)]
                            outcome = await self._outcome(id, node, sent[node], reply_limit(len(messages[node])))
                            if outcome is None:
                                continue
                            del pending[id]
                            if outcome.failure not in DISTURBED or asked[node] > ASKED_AGAIN:
                                outcomes[node] = outcome
                                await self.note_failure(outcome, number)
                                continue
                            again = f"{message_id(self._run_id, number, kind, node)}.{asked[node]}"
                            pending[again], asked[node] = node, asked[node] + 1
                            to_look.append(again)  # a worker before this one may have had the answer
                            await self.note_failure(outcome, number)
                            await self._ask_one(node, again, messages[node], number)
                        good = sum(o.reply is not None for o in outcomes.values())
                        if not pending or good + len(pending) < quorum:
                            break
                        to_look = await _written(news, pending)
        for id, node in pending.items():  # a reply may have come in time whose announcement did not
            late = await self._outcome(id, node, sent[node], reply_limit(len(messages[node])))
            outcomes[node] = late or Outcome(node, sent[node], failure="silent", detail=f"no reply within {within_s:g} s")
            await self.note_failure(outcomes[node], number)
        check_quorum(number, outcomes.values(), quorum)
        return tuple(outcomes[node] for node in sorted(outcomes))

    async def _ask_one(self, node: str, id: str, message: bytes, number: int) -> int:
        """Asks a node, where it has not answered that already. Gives the bytes of the message as it travels."""
        coded = await self._coded(node, message)
        if await self._ledger.get(REPLY, id) is None:
            await self._want(node, id, coded, number, reply_limit(len(message)))
        return len(coded)

    async def _coded(self, node: str, message: bytes) -> bytes:
        """The message as it travels to a node."""
        presence = await presence_of(self._ledger, node)
        if presence is None or CODED not in presence.features:
            return message
        return await asyncio.to_thread(codec.encode, message, quick=True)

    async def _outcome(self, id: str, node: str, sent: int, limit: int) -> Outcome | None:
        doc = await self._ledger.get(REPLY, id)
        if doc is None or doc.body.get("node_id") != node:
            return None
        failure, digest = str(doc.body.get("failure", "")), str(doc.body.get("reply_digest", ""))
        if failure or not digest:
            return Outcome(node, sent, failure=failure or "empty-reply", detail=str(doc.body.get("detail", "")))
        try:
            travelled = await asyncio.to_thread(self._read, digest, limit)
            if not codec.is_coded(travelled):
                return Outcome(node, sent, reply=travelled, reply_bytes=len(travelled))
            with codec_errors():
                reply = await asyncio.to_thread(codec.decode, travelled, limit=limit)
        except FleetError as error:
            return Outcome(node, sent, failure=error.code, detail=str(error))
        return Outcome(node, sent, reply=reply, reply_bytes=len(travelled))

    def _read(self, digest: str, limit: int) -> bytes:
        if (size := self._blobs.stored_bytes(digest)) > limit:
            raise TooLarge(f"reply {digest[:19]}: {size} bytes, this message may have at most {limit}")
        return self._blobs.read(digest)

    async def note_failure(self, outcome: Outcome, number: int) -> None:
        """An audit line of the node, where its message came to nothing."""
        if outcome.reply is None:
            details = {"run": self._run_id, "round": number, "code": outcome.failure, "detail": outcome.detail[:500]}
            await self._ledger.commit(Change((), (Audit("node.round-failed", outcome.node_id, self._run_id, details),)))

    async def _want(self, node: str, id: str, message: bytes, number: int, limit: int) -> None:
        """Sets the task of one node and nothing else of its intent; nothing where it has the task already.

        In the place of a node that was taken out meanwhile it answers.
        """
        doc, member = await self._ledger.get_many([("desired", node), ("node", node)])
        if member is not None and load(Node, member).enrolment is not Enrolment.ACCEPTED:
            body = {"run_id": self._run_id, "node_id": node, "failure": Revoked.code, "detail": "it was taken out of the fleet"}
            await self._ledger.commit(Change((Write(REPLY, id, body, None),)), fence=self._fence)
            return
        task = load(Desired, doc).federated if doc else None
        if task is not None and task.message_id == id:
            return
        task = FederatedTask(
            run_id=self._run_id,
            message_id=id,
            message_digest=await asyncio.to_thread(self._blobs.put, message),
            message_bytes=len(message),
            round=number,
            reply_bytes=limit,
        )
        await _set_task(self._ledger, node, lambda before: task, self._fence)


async def _written(news: AnnouncementFeed, pending: Collection[str]) -> list[str]:
    """Waits for news; gives which of these replies were written since. All of them, where news may have been lost."""
    await news.waiting()
    heard = {each.id for each in news.drain()}
    return list(pending) if "" in heard else [id for id in heard if id in pending]


def reply_limit(message_bytes: int) -> int:
    """Bytes that the reply to a message of this size may have, coded and decoded."""
    return REPLY_GROWTH * message_bytes + REPLY_SLACK


async def forget_run(ledger: Ledger, run_id: str, fence: Fence | None) -> None:
    """Takes a run's tasks from all nodes, so that their warm workers end, and drops its replies. May be repeated."""
    async for page in ledger.pages("desired"):
        for doc in page:
            task = load(Desired, doc).federated if doc.body.get("federated") else None
            if task is not None and task.run_id == run_id:
                await _clear(ledger, doc.id, run_id, fence)
    async for page in ledger.pages(REPLY):
        for doc in page:
            if doc.body.get("run_id") == run_id:
                await ledger.commit(Change((Write(REPLY, doc.id, None, None),)), fence=fence)


async def _clear(ledger: Ledger, node: str, run_id: str, fence: Fence | None) -> None:
    await _set_task(ledger, node, lambda task: None if task is not None and task.run_id == run_id else task, fence)


async def _set_task(
    ledger: Ledger, node: str, change: Callable[[FederatedTask | None], FederatedTask | None], fence: Fence | None
) -> None:
    """Changes the task of one node and nothing else of its intent."""

    def changed(before: Desired | None) -> Desired | None:
        after = change(before.federated if before else None)
        return replace(before or Desired(), federated=after) if before or after else None

    await edit(ledger, Desired, "desired", node, changed, fence=fence)
