"""Flower's Grid over the fleet: what Flower's SuperLink would do, done by the ledger, blobs and sessions that are there anyway.

Flower's strategies are synchronous and run in a thread; everything here that touches the ledger runs on the process's one
event loop. One instance, one run, one process (flower_private.become_server says why).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid

from littoral.errors import BadInput, FleetError, Revoked
from littoral.flower_private import become_server, empty_run, from_bytes, name_message, number_of, to_bytes
from littoral_cloud.federation.exchange import Exchange, Outcome, check_quorum
from littoral_cloud.federation.faults import BAD_REPLY, Fault
from littoral_cloud.federation.judging import ARRAYS, NEEDED, judged
from littoral_cloud.federation.participants import Participants
from littoral_cloud.federation.run import FinishedRound, Run, round_finished, round_started, sitting_out, update_run
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.fleet.ledger import Audit, Fence, Ledger
from littoral_cloud.training.weights import weights_bytes

T = TypeVar("T")


class FleetGrid(Grid):
    """Args:
    run: as it stands in the ledger when the worker starts.
    fence: of the controller's lease; with None writes are not fenced.
    participants: who can take part in it.
    loop: the event loop that the ledger belongs to; the Grid's own methods must be called from another thread.
    """

    def __init__(
        self,
        ledger: Ledger,
        blobs: BlobStore,
        run: Run,
        *,
        fence: Fence | None,
        participants: Participants,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        become_server(run.run_id)
        self._ledger = ledger
        self._blobs = blobs
        self._run = run
        self._fence = fence
        self._clock = clock
        self._loop = loop
        self._exchange = Exchange(ledger, blobs, run.run_id, fence)
        self._participants = participants
        self._names: dict[int, str] = {}  # node ids by Flower's number for them
        self._trained: tuple[Outcome, ...] = ()
        self._evaluated: tuple[Outcome, ...] = ()

    # -- what Flower asks ------------------------------------------------------------------------------------------

    def set_run(self, run: Any) -> None:
        raise BadInput("run: a FleetGrid belongs to the run that it was made for")

    @property
    def run(self) -> Any:
        return empty_run(self._run.run_id)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Nodes that can take part in the round that comes, or, after a restart in a round, the ones that round began with."""
        pool = self._await(self._pool())
        self._names |= {number_of(node): node for node in pool}
        return [number_of(node) for node in pool]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise BadInput("grid: messages without a wait have no deadline here", hint="use send_and_receive")

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise BadInput("grid: messages without a wait have no deadline here", hint="use send_and_receive")

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Replies that can be used, in the order of node ids. A node that failed, or whose reply cannot be used, gives no
        message: it is audited and counted.

        Raises QuorumMissed.
        """
        asked = list(messages)
        if not asked:
            return []
        return self._await(self._round_trip(asked, self._run.round_timeout_s if timeout is None else timeout))

    # -- what our ServerApp tells (RoundKeeper) --------------------------------------------------------------------

    def round_finished(self, number: int, arrays: ArrayRecord, metrics: MetricRecord) -> None:
        """Keeps the global model as a blob and the round in the ledger: from here a new worker goes on."""
        self._await(self._finish(number, arrays, metrics))

    # -- on the event loop -----------------------------------------------------------------------------------------

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _pool(self) -> tuple[str, ...]:
        run = self._run
        if run.open_round is not None:
            return run.open_round.pool
        before = run.finished[-1].participants if run.finished else ()
        return await self._participants.gather_nodes(
            run.model,
            run.cohort,
            at_least=run.min_nodes,
            hoped=run.cohort or before,
            within_s=run.round_timeout_s,
            without=sitting_out(run),
        )

    async def _round_trip(self, asked: list[Message], within_s: float) -> list[Message]:
        kind = asked[0].metadata.message_type
        number = _round_of(asked[0])
        if kind == MessageType.TRAIN:
            await self._open(number)
        sent = {}
        for message in asked:
            node = self._names[message.metadata.dst_node_id]
            name_message(message, f"{number}.{kind}.{node}")
            sent[node] = to_bytes(message)
        held = await self._participants.examples_of(sent, self._run.model)
        outcomes = await self._exchange.ask(sent, number=number, kind=kind, quorum=self._run.min_replies, within_s=within_s)
        usable = await self._judged(outcomes, kind, asked[0], held)
        after = [outcome for outcome, _ in usable]
        for before, outcome in zip(outcomes, after, strict=True):
            if outcome is not before:
                await self._exchange.note_failure(outcome, number)
        check_quorum(number, after, self._run.min_replies)
        if kind == MessageType.TRAIN:
            self._trained = tuple(after)
        return [message for _, message in usable if message is not None]

    async def _judged(
        self, outcomes: Iterable[Outcome], kind: str, asked: Message, held: Mapping[str, int]
    ) -> list[tuple[Outcome, Message | None]]:
        """Each outcome and its message; of a reply that cannot be used the failure, and none."""
        read = [_reply_of(outcome) for outcome in outcomes]
        if kind not in NEEDED:
            return read
        came = [(outcome, message) for outcome, message in read if message is not None]
        # Files may have come to a node, or gone, while it trained.
        now = await self._participants.examples_of([outcome.node_id for outcome, _ in came], self._run.model)
        if out := self._participants.out([outcome.node_id for outcome, _ in came]):
            read = [(_taken_out(each[0]), None) if each[0].node_id in out else each for each in read]
            came = [(outcome, message) for outcome, message in came if outcome.node_id not in out]
        most = [max(now[o.node_id], held[o.node_id]) for o, _ in came]
        arrays = asked.content[ARRAYS] if kind == MessageType.TRAIN else None
        assert arrays is None or isinstance(arrays, ArrayRecord)
        verdicts = await asyncio.to_thread(judged, [message for _, message in came], kind, arrays, most)
        by_node = {outcome.node_id: verdict for (outcome, _), verdict in zip(came, verdicts, strict=True)}
        return [_with(outcome, by_node.get(outcome.node_id)) for outcome, _ in read]

    async def _open(self, number: int) -> None:
        run = self._run
        if run.open_round is not None and run.open_round.number == number:
            return
        pool, now = tuple(sorted(self._names.values())), self._clock()
        audit = Audit("round.started", run.run_id, "federation", {"round": number, "nodes": list(pool)})
        self._run = await update_run(
            self._ledger, run.run_id, lambda r: round_started(r, number, pool, now), audit, fence=self._fence
        )

    async def _finish(self, number: int, arrays: ArrayRecord, metrics: MetricRecord) -> None:
        data = weights_bytes({name: array.numpy() for name, array in arrays.items()})
        digest = await asyncio.to_thread(self._blobs.put, data)
        opened, run_id = self._run.open_round, self._run.run_id
        assert opened is not None
        good = [o for o in self._trained if o.reply is not None]
        finished = FinishedRound(
            number=number,
            seconds=self._clock() - opened.started_at,
            weights=digest,
            participants=tuple(o.node_id for o in good),
            failed={o.node_id: o.failure for o in self._trained if o.reply is None},
            bytes_down=sum(o.sent_bytes for o in self._trained),
            bytes_up=sum(o.reply_bytes for o in good),
            metrics={name: float(value) for name, value in metrics.items() if isinstance(value, int | float)},
        )
        details = {
            "round": number,
            "seconds": round(finished.seconds, 3),
            "participants": list(finished.participants),
            "failed": dict(finished.failed),
            "weights": digest,
        }
        audit = Audit("round.finished", run_id, "federation", details)
        out = set(sitting_out(round_finished(self._run, finished))) - set(sitting_out(self._run))
        sits = [Audit("node.sits-out", node, run_id, {"run": run_id, "code": finished.failed[node]}) for node in sorted(out)]
        self._run = await update_run(self._ledger, run_id, lambda r: round_finished(r, finished), audit, *sits, fence=self._fence)
        self._names = {}


def _round_of(message: Message) -> int:
    config = message.content["config"]
    assert isinstance(config, ConfigRecord)
    number = config["server-round"]
    assert isinstance(number, int)
    return number


def _reply_of(outcome: Outcome) -> tuple[Outcome, Message | None]:
    """The reply as Flower's Message. One that cannot be read, or says that it is an error, is a failure of its node."""
    if outcome.reply is None:
        return outcome, None
    try:
        message = from_bytes(outcome.reply)
    except FleetError as error:
        return _with(outcome, Fault(BAD_REPLY, str(error)))
    if message.has_error():
        return _with(outcome, Fault(BAD_REPLY, str(message.error.reason)))
    return outcome, message


def _taken_out(outcome: Outcome) -> Outcome:
    return Outcome(outcome.node_id, outcome.sent_bytes, failure=Revoked.code, detail="it was taken out of the fleet")


def _with(outcome: Outcome, verdict: Message | Fault | None) -> tuple[Outcome, Message | None]:
    if isinstance(verdict, Fault):
        return Outcome(outcome.node_id, outcome.sent_bytes, failure=verdict.code, detail=verdict.detail), None
    return outcome, verdict
