"""One node's session: Hello, Welcome, then what should be goes down and what is comes up until one side ends it.

`_read` takes messages off the wire and answers heartbeats at once, so that a node whose messages wait for Redis is not given up.
Two helpers live only while there is work: `_process` takes messages one after another; `_push` sends the desired state where its
generation grew, and acknowledgements. So a session at rest has one task and one timer, and nothing of what its node was once.
Its deadline is the end of the node's certificate, or the moment at which `end` was called or a helper failed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from littoral.errors import BadInput
from littoral.fleet.v1 import session_pb2
from littoral.transport import MAX_MESSAGE_BYTES, SILENT_INTERVALS
from littoral_cloud.api import wire
from littoral_cloud.api.fields import printed
from littoral_cloud.api.peer import address_of
from littoral_cloud.api.session_helper import SessionHelper
from littoral_cloud.api.session_patience import ledger_soon, patiently
from littoral_cloud.api.session_stream import SessionEnded, SessionStream, ended
from littoral_cloud.api.session_terms import Hub, SessionTerms
from littoral_cloud.fleet import presence as there
from littoral_cloud.fleet import sessions
from littoral_cloud.fleet.allowance import NodeAllowance, count_left_out
from littoral_cloud.fleet.anchors import note_anchors
from littoral_cloud.fleet.hello import Known, known_of, note_hello
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.nodes import forget_if_out
from littoral_cloud.fleet.records import Desired, Presence
from littoral_cloud.fleet.sessions import Peer, Reason, SessionRefusal
from littoral_cloud.fleet.telemetry_desk import Taken

log = logging.getLogger(__name__)

T = TypeVar("T")

NOTHING: frozenset[str] = frozenset()
EVERYTHING = frozenset({"node", "desired"})

QUEUED_MESSAGES = 64
"""Messages of one node that wait for the ledger; with more, the node itself waits."""


class CoordinatorSession:
    def __init__(self, context: Any, peer: Peer, ledger: Ledger, terms: SessionTerms, hub: Hub) -> None:
        self.peer = peer
        self.id = f"{terms.rng.getrandbits(64):016x}"
        self.address = address_of(context)
        self.twins: tuple[str, ...] = ()  # where agents of this one identity call from, where there are several
        self._ledger = ledger
        self._terms = terms
        self._hub = hub
        self._stream = SessionStream(context, terms.heartbeat_interval_s * SILENT_INTERVALS)
        self._messages: list[session_pb2.ConnectRequest] = []  # a deque would hold room for 64 in every session
        self._acknowledgements: dict[str, int] = {}  # to be sent: of each boot, the last report that is stored
        self._unread: frozenset[str] = NOTHING  # kinds of this node's documents that were written
        self._processing = SessionHelper(self._process, self._end)
        self._pushing = SessionHelper(self._push, self._end)
        self._over: BaseException | None = None  # why it ends: the first reason
        self._entered = False
        self._deadline: asyncio.Timeout | None = None  # while it reads
        self.presence_generation = 0  # of the presence that its hello wrote
        self.boot_id = ""  # names one start of the agent; "" until its hello arrives
        self._sent_generation = -1
        self._sent_anchors = 0
        self._awaits_report = False  # one for each that was sent: others are not read
        self._allowance: NodeAllowance  # once it was let in
        self._said_over = False

    def look_again(self, kinds: frozenset[str] = EVERYTHING) -> None:
        """These were written: it reads what should be, and whether its node is still accepted."""
        self._unread |= kinds
        self._push_soon()

    def look_at_anchors(self) -> None:
        """The hub has other ones."""
        self._push_soon()

    def acknowledge(self, boot_id: str, sequence: int) -> None:
        """Every report of this boot up to this one is stored."""
        self._acknowledgements[boot_id] = sequence
        self._push_soon()

    def end(self, refused: SessionRefusal) -> None:
        """Tells the node why, and ends the session; the first reason counts."""
        self._end(SessionEnded(refused))

    async def run(self) -> None:
        """Until either side ends it."""
        try:
            await self._greet()
            await self._attend()
        except SessionEnded as over:
            self._hub.counts.over(self._entered, over.refused.reason if over.refused else None)
            await self._part(over)
            if self._entered and over.refused is not None and over.refused.reason is Reason.NODE_REVOKED:
                await self._patiently(self._forget_if_out)
        finally:
            if self._entered:
                self._hub.leave(self)
            self._over = None
            del self._processing, self._pushing  # these name this session: with it its connection would wait for the collector

    async def _greet(self) -> None:
        """From its hello to the desired state that it gets first."""
        hello, hub = await self._stream.hello(), self._hub
        async with hub.line.turn():
            known, said = await self._admit(hello)
            self._allowance = hub.allowance_of(self.peer.node_id)
            if not (pause := self._allowance.message()):
                await self._enter(known, said)
        if pause:  # it comes too often
            await asyncio.sleep(pause)
            async with hub.line.turn():
                await self._enter(known, said)
        welcome = self._terms.welcome(
            self.peer.node_id, hub.spread_s, hub.fleet_addresses, hub.enrolment_addresses, hello.time_nonce
        )
        welcome.connection = known.presence.connection if known.presence is not None else 0
        await self._stream.send(session_pb2.ConnectResponse(welcome=welcome))
        hub.handed.enter(self.peer.node_id, known.handed)
        await self._send_anchors()  # before an artifact that a new key signed
        await self._send_desired(known.desired_generation, known.desired)

    async def _admit(self, hello: session_pb2.Hello) -> tuple[Known, Presence]:
        now = self._terms.clock()
        self._unread = NOTHING  # the hub tells what is written from here on
        known = await ledger_soon(known_of(self._ledger, self.peer.node_id, self._hub.desired.record))
        if (refused := sessions.admission_refusal(known.node, self.peer, now)) is not None:
            raise SessionEnded(refused)
        try:
            said = wire.presence_from(hello, now)
        except BadInput as error:
            raise ended(Reason.PROTOCOL_VIOLATION, str(error)) from error
        self.boot_id = said.boot_id
        patience_s = there.patience_s(self._terms.heartbeat_interval_s, self._hub.spread_s)
        said = replace(said, coordinator=self._hub.coordinator, session=self.id, patience_s=patience_s, address=self.address)
        return known, said

    async def _enter(self, known: Known, said: Presence) -> None:
        self._hub.enter(self)
        self._entered = True
        await ledger_soon(self._note_hello(known, said))
        self._hub.line.welcomed(self)

    async def _note_hello(self, known: Known, said: Presence) -> None:
        if self.twins:
            said = replace(said, twins=self.twins, twins_at=self._terms.clock())
        self.presence_generation = await note_hello(self._ledger, self.peer.node_id, said, self._allowance, known)

    async def _attend(self) -> None:
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(now + max(0.0, self.peer.expires_at - self._terms.clock())) as self._deadline:
                if self._over is not None:
                    raise self._over
                self._push_soon()
                await self._read()
        except TimeoutError:
            detail = f"the certificate of node {self.peer.node_id} has expired"
            raise self._over or ended(Reason.CERTIFICATE_EXPIRED, detail, sessions.EXPIRED_RETRY_S) from None
        finally:
            self._deadline = None
            await asyncio.gather(self._processing.stop(), self._pushing.stop())

    def _end(self, why: BaseException) -> None:
        self._over = self._over or why
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(0.0)

    async def _part(self, over: SessionEnded) -> None:
        if over.refused is None:
            return
        log.info("session of %s: %s: %s", self.peer.node_id, over.refused.reason.value, over.refused.detail)
        with suppress(SessionEnded):  # it is gone already
            await self._stream.send(session_pb2.ConnectResponse(refusal=wire.refusal_to(over.refused)))

    # -- one loop and two helpers ----------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            message = await self._stream.next_message()
            kind = message.WhichOneof("message")
            self._hub.counts.messages[kind or "empty"] += 1
            if kind == "heartbeat":
                await self._stream.send(session_pb2.ConnectResponse(heartbeat=message.heartbeat))
            elif kind in (None, "hello"):
                what = "an empty message" if kind is None else "a second hello"
                raise ended(Reason.PROTOCOL_VIOLATION, f"{what} in an open session")
            else:
                self._messages.append(message)
                self._processing.wake()
                if len(self._messages) >= QUEUED_MESSAGES:
                    await self._processing.idle()
            if (pause := self._allowance.message()) > 0:
                await asyncio.sleep(pause)  # unread words wait on the wire, and behind them the node

    async def _process(self) -> None:
        while self._messages:
            await self._hub.pushes.over()
            try:
                await self._take(self._messages.pop(0))
            except BadInput as error:
                raise ended(Reason.PROTOCOL_VIOLATION, str(error)) from error

    async def _take(self, message: session_pb2.ConnectRequest) -> None:
        node_id, ledger, allowance = self.peer.node_id, self._ledger, self._allowance
        match message.WhichOneof("message"):
            case "reported":
                reported = wire.reported_from(message.reported, self.boot_id)
                await self._patiently(lambda: sessions.note_reported(ledger, node_id, reported, allowance))
            case "telemetry":
                await self._take_telemetry(message.telemetry)
            case "measurement":
                measurement = wire.measurement_from(message.measurement, node_id, self._terms.clock())
                if not await self._patiently(lambda: sessions.note_measurement(ledger, measurement)):
                    log.warning("session of %s: measured %s, which is no artifact here", node_id, measurement.manifest_digest)
            case "budget_change":
                budgets = wire.budgets_from(message.budget_change.budgets, "budget_change.budgets")
                conditions = wire.conditions_from(message.budget_change.conditions)
                labelled = wire.labelled_from(message.budget_change.labelled_examples, "budget_change.labelled_examples")
                await self._patiently(
                    lambda: sessions.note_budgets(ledger, node_id, budgets, conditions, labelled, allowance=allowance)
                )
            case "trust_report" if self._awaits_report:
                self._awaits_report, report = False, message.trust_report
                if report.number != self._hub.anchors.number:
                    log.warning("session of %s: does not follow the fleet's keys: %s", node_id, printed(report.detail, 300))
                await self._patiently(lambda: note_anchors(ledger, node_id, min(report.number, self._hub.anchors.number)))
            case "federated_reply":
                answer = wire.answer_from(message.federated_reply)
                if not await self._patiently(lambda: sessions.note_answer(ledger, node_id, answer)):
                    log.info("session of %s: answered %s late or again", node_id, answer.message_id)

    async def _take_telemetry(self, word: session_pb2.TelemetryReport) -> None:
        desk, node_id = self._hub.desk, self.peer.node_id
        report, again = wire.report_from(word), partial(wire.report_read, word.SerializeToString())
        taken = await self._patiently(lambda: desk.take(node_id, report, self.acknowledge, self._allowance, again))
        if taken is Taken.OVER_THE_LIMIT and not self._said_over:
            self._said_over = True
            log.warning("session of %s: says more models than were ever wanted of it: %s is not counted", node_id, report.model)

    def _push_soon(self) -> None:
        if self._deadline is not None:
            self._pushing.wake()

    async def _push(self) -> None:
        while self._acknowledgements or self._unread or self._sent_anchors != self._hub.anchors.number:
            await self._send_anchors()
            while self._acknowledgements:
                boot_id, sequence = self._acknowledgements.popitem()
                ack = session_pb2.TelemetryAck(sequence=sequence, boot_id=boot_id)
                await self._stream.send(session_pb2.ConnectResponse(telemetry_ack=ack))
            if self._unread:
                unread, self._unread = self._unread, NOTHING
                await self._patiently(partial(self._push_once, unread))

    async def _push_once(self, unread: frozenset[str]) -> None:
        with self._hub.pushes.pending():
            if "node" in unread:
                refused = await sessions.admission(self._ledger, self.peer, self._terms.clock())
                if refused is not None:
                    raise SessionEnded(refused)
            desired = await self._ledger.get("desired", self.peer.node_id) if "desired" in unread else None
        await count_left_out(self._ledger, self._allowance)
        if desired is not None:
            await self._send_desired(*self._hub.desired.record(desired))

    async def _send_anchors(self) -> None:
        if (told := self._hub.anchors).number != self._sent_anchors:
            await self._stream.send(session_pb2.ConnectResponse(trust_anchors=wire.anchors_to(told)))
            self._sent_anchors, self._awaits_report = told.number, True

    async def _send_desired(self, generation: int, desired: Desired) -> None:
        if generation <= self._sent_generation:
            return
        message = self._hub.desired.message(generation, desired)
        if message.ByteSize() > MAX_MESSAGE_BYTES:
            log.error("session of %s: desired state %d is %d bytes: not sent", self.peer.node_id, generation, message.ByteSize())
            return
        await self._stream.send(message)
        self._sent_generation = generation
        self._hub.handed.handed(self.peer.node_id, desired)

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        return await patiently(self.peer.node_id, self._terms.rng, work)

    async def _forget_if_out(self) -> None:
        await self._hub.desk.write(self.peer.node_id)  # what waits would come back after it was deleted
        await forget_if_out(self._ledger, self.peer.node_id)
