"""The one outbound channel to the cloud: small words over a long-lived stream, mutual TLS, reconnected for ever.

What decides is `message(link, event, now) -> link, effects` on a frozen value. `Session` is the thin shell around it. A
refusal never stops the agent: it goes on serving what it has, and asks again when the refusal says so, or slowly.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import grpc
import grpc.aio

from littoral import PROTOCOL_VERSION
from littoral.backoff import Backoff
from littoral.errors import FleetError, TooLarge
from littoral.fleet.v1 import session_pb2, session_pb2_grpc
from littoral.transport import CLIENT_OPTIONS, LONGEST_BACKOFF_S, MAX_WORD_BYTES, SILENT_INTERVALS
from littoral_node.identity.folder import Identity

BACKOFF = Backoff(0.5, LONGEST_BACKOFF_S)
FLAPS_MOST = 4
"""Attempts that count against a cloud which said Welcome: the pause stays within 8 s."""
SPREAD_MOST_S = 300.0
"""Over this the fleet's return is spread at most, whatever the cloud says."""
SLOW_RETRY_S = 300.0
"""After a refusal that only an operator can lift."""

GREETING_LIMIT_S = 20.0
WAITING_WORDS = 1024
"""Words that may wait for a cloud that does not read; with more the stream is given up."""

Reason = session_pb2.RefusalReason
_FOR_AN_OPERATOR = (
    Reason.REFUSAL_REASON_PROTOCOL_UNSUPPORTED,
    Reason.REFUSAL_REASON_NODE_UNKNOWN,
    Reason.REFUSAL_REASON_NODE_REVOKED,
    Reason.REFUSAL_REASON_PROTOCOL_VIOLATION,
)


class Phase(StrEnum):
    GREETING = "greeting"  # Hello is said, Welcome is awaited
    OPEN = "open"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Link:
    """One stream. Times are seconds of a monotonic clock."""

    heard_at: float
    said_at: float  # when the last heartbeat went out
    phase: Phase = Phase.GREETING
    heartbeat_s: float = GREETING_LIMIT_S / SILENT_INTERVALS
    sequence: int = 0  # of our heartbeats
    echoed: int = 0  # highest foreign heartbeat that was echoed
    desired_generation: int = -1


@dataclass(frozen=True, slots=True)
class Heard:
    word: session_pb2.ConnectResponse


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream ended, or could not be opened."""

    detail: str


@dataclass(frozen=True, slots=True)
class Renewed:
    """This node has another certificate: a new channel is wanted."""


@dataclass(frozen=True, slots=True)
class Say:
    word: session_pb2.ConnectRequest


@dataclass(frozen=True, slots=True)
class Opened:
    welcome: session_pb2.Welcome


@dataclass(frozen=True, slots=True)
class Deliver:
    word: session_pb2.ConnectResponse


@dataclass(frozen=True, slots=True)
class Note:
    """For the log."""

    event: str
    fields: tuple[tuple[str, str | int | float], ...] = ()


@dataclass(frozen=True, slots=True)
class Leave:
    """End this stream. `after_s`: when to try again; None: by the usual backoff."""

    after_s: float | None = None


Event = Heard | Tick | Lost | Renewed
Effect = Say | Opened | Deliver | Note | Leave


def message(link: Link, event: Event, now: float) -> tuple[Link, tuple[Effect, ...]]:
    """What becomes of a stream, and what is to be done."""
    if link.phase is Phase.ENDED:
        return link, ()
    match event:
        case Lost(detail):
            return replace(link, phase=Phase.ENDED), (Note("session-lost", (("detail", detail),)), Leave())
        case Renewed():
            return replace(link, phase=Phase.ENDED), (Note("session-reopened"), Leave(0.0))
        case Tick():
            return _ticked(link, now)
        case Heard(word):
            return _heard(replace(link, heard_at=now), word)


def _ticked(link: Link, now: float) -> tuple[Link, tuple[Effect, ...]]:
    if now - link.heard_at > SILENT_INTERVALS * link.heartbeat_s:
        silent = Note("session-lost", (("detail", f"nothing was heard for {now - link.heard_at:.1f} s"),))
        return replace(link, phase=Phase.ENDED), (silent, Leave())
    if link.phase is Phase.OPEN and now - link.said_at >= link.heartbeat_s:
        sequence = link.sequence + 1
        beat = session_pb2.ConnectRequest(heartbeat=session_pb2.Heartbeat(sequence=sequence))
        return replace(link, sequence=sequence, said_at=now), (Say(beat),)
    return link, ()


def _heard(link: Link, word: session_pb2.ConnectResponse) -> tuple[Link, tuple[Effect, ...]]:
    match word.WhichOneof("message"):
        case "refusal":
            return replace(link, phase=Phase.ENDED), _refused(word.refusal)
        case "welcome" if link.phase is Phase.GREETING:
            beat = word.welcome.heartbeat_interval_s
            open_link = replace(link, phase=Phase.OPEN, heartbeat_s=beat if 0 < beat < 3600 else 10.0)
            return open_link, (Opened(word.welcome), Note("session-open", (("node", word.welcome.node_id),)))
        case "heartbeat":
            sequence = word.heartbeat.sequence
            if sequence <= max(link.sequence, link.echoed):  # our own, come back; or one that goes round in a circle
                return link, ()
            return replace(link, echoed=sequence), (Say(session_pb2.ConnectRequest(heartbeat=word.heartbeat)),)
        case "desired" if link.phase is Phase.OPEN:
            if word.desired.generation < link.desired_generation:  # late: a newer one was heard on this stream
                return link, ()
            return replace(link, desired_generation=word.desired.generation), (Deliver(word),)
        case "telemetry_ack" if link.phase is Phase.OPEN:
            return link, (Deliver(word),)
    return link, ()  # a word of a newer cloud: passed over


def _refused(refusal: session_pb2.Refusal) -> tuple[Effect, ...]:
    reason = Reason.Name(refusal.reason).removeprefix("REFUSAL_REASON_") if refusal.reason in Reason.values() else "UNKNOWN"
    after = refusal.retry_after_s if refusal.retry_after_s > 0 else None
    if after is None and (refusal.reason in _FOR_AN_OPERATOR or reason == "UNKNOWN"):
        after = SLOW_RETRY_S
    fields: tuple[tuple[str, str | int | float], ...] = (("reason", reason), ("detail", refusal.detail))
    if refusal.reason == Reason.REFUSAL_REASON_PROTOCOL_UNSUPPORTED:
        fields += (("protocol", PROTOCOL_VERSION), ("cloud_speaks", f"{refusal.protocol_min}-{refusal.protocol_max}"))
    return Note("session-refused", fields), Leave(after)


def pause_s(attempt: int, after_s: float | None, rng: random.Random, spread_s: float = 0.0) -> float:
    """Before the next stream; seconds.

    Args:
        after_s: what was said of it: the least, to which the usual backoff is added, for the same was said to many. None: nothing
            was said, the stream was lost. 0: at once.
    """
    return 0.0 if after_s == 0 else (after_s or 0.0) + BACKOFF.pause_s(attempt, rng, least_bound_s=min(spread_s, SPREAD_MOST_S))


def open_channel(identity: Identity) -> grpc.aio.Channel:
    """A new connection to the fleet listener: mutual TLS, rooted in the fleet's own CA alone."""
    credentials = grpc.ssl_channel_credentials(identity.ca_pem, identity.key_pem, identity.certificate_pem)
    return grpc.aio.secure_channel(identity.fleet_address, credentials, options=CLIENT_OPTIONS)


async def unreachable(identity: Identity, limit_s: float) -> str:
    """Why the fleet listener cannot be reached with this identity; empty: it can."""
    channel = open_channel(identity)
    try:
        async with asyncio.timeout(limit_s):
            state = channel.get_state(try_to_connect=True)
            while state is not grpc.ChannelConnectivity.READY:
                if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                    return "the connection was refused, or the handshake failed"
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    except TimeoutError:
        return f"no answer in {limit_s:.0f} s"
    finally:
        await channel.close()
    return ""


class NodeSession:
    """Args:
    open: a new channel; each stream has its own, since a certificate counts at the handshake alone. Raises FleetError where this
        node has nothing to open one with.
    hello: the first word, made anew for each stream.
    resume: words to say after each Welcome: what is so, and what was not acknowledged.
    deliver: takes DesiredState and TelemetryAck; must not block.
    welcomed: takes each Welcome.
    barred: why this node thinks that no stream will be opened, its certificate having expired; empty: one may.
    """

    def __init__(
        self,
        *,
        open: Callable[[], grpc.aio.Channel],
        hello: Callable[[], session_pb2.Hello],
        resume: Callable[[], Iterable[session_pb2.ConnectRequest]],
        deliver: Callable[[session_pb2.ConnectResponse], None],
        welcomed: Callable[[session_pb2.Welcome], None],
        log: Callable[..., None],
        monotonic: Callable[[], float],
        rng: random.Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        barred: Callable[[], str] = str,
    ) -> None:
        self._open = open
        self._hello = hello
        self._resume = resume
        self._deliver = deliver
        self._welcomed = welcomed
        self._log = log
        self._monotonic = monotonic
        self._rng = rng
        self._sleep = sleep
        self._outbox: asyncio.Queue[session_pb2.ConnectRequest] | None = None  # None: not open
        self._lost: Callable[[str], None] = lambda detail: None
        self._end: Callable[[], None] = lambda: None
        self._barred = barred
        self._anew = asyncio.Event()  # nobody waits any longer before the next stream

    @property
    def connected(self) -> bool:
        return self._outbox is not None

    def say(self, word: session_pb2.ConnectRequest) -> bool:
        """Hands a word to the open stream; False where there is none: what matters is in `resume` as well.

        Raises TooLarge where the word is over MAX_WORD_BYTES: it would end the stream.
        """
        if (size := word.ByteSize()) > MAX_WORD_BYTES:
            kind = word.WhichOneof("message")
            raise TooLarge(f"word {kind}: {size} bytes, at most {MAX_WORD_BYTES} are sent", hint="big things travel as blobs")
        if self._outbox is None:
            return False
        try:
            self._outbox.put_nowait(word)
        except asyncio.QueueFull:
            self._lost(f"the cloud has not read {WAITING_WORDS} words")
            return False
        return True

    def reopen(self) -> None:
        """Ends the stream, or the pause before the next: this node has another certificate."""
        self._anew.set()
        self._end()

    async def run(self) -> None:
        """Until cancelled. Never raises for what the network or the cloud does."""
        attempt, spread_s = -1, 0.0
        while True:
            began = self._monotonic()
            self._anew.clear()
            try:
                welcome, after = await self._stream()
            except FleetError as error:
                self._log("session-lost", detail=str(error))
                welcome, after = None, SLOW_RETRY_S
            if welcome is None and after is None and self._barred():
                after = SLOW_RETRY_S
            if welcome is not None:
                spread_s = welcome.reconnect_spread_s
            held = welcome is not None and self._monotonic() - began >= welcome.heartbeat_interval_s
            attempt = 0 if held else attempt + 1
            if welcome is not None:  # lost within a heartbeat: a cloud that flaps is left some time, but it is there
                attempt = min(attempt, FLAPS_MOST)
            wait = pause_s(attempt, after, self._rng, spread_s)
            self._log("session-retry", after_s=round(wait, 2))
            await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        """Shorter where `reopen` is called."""
        waiting = [asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._anew.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _stream(self) -> tuple[session_pb2.Welcome | None, float | None]:
        """One stream from Hello to its end: (its Welcome, None where it was not opened; when to try again)."""
        inbox: asyncio.Queue[Event] = asyncio.Queue()
        outbox: asyncio.Queue[session_pb2.ConnectRequest] = asyncio.Queue(WAITING_WORDS)
        self._lost = lambda detail: inbox.put_nowait(Lost(f"{barred} ({detail})" if (barred := self._barred()) else detail))
        self._end = lambda: inbox.put_nowait(Renewed())
        channel = self._open()
        pumps: list[asyncio.Task[None]] = []
        call: Any = None
        try:
            call = session_pb2_grpc.SessionServiceStub(channel).Connect()
            outbox.put_nowait(session_pb2.ConnectRequest(hello=self._hello()))
            pumps = [asyncio.create_task(_read(call, inbox, self._lost)), asyncio.create_task(_write(call, outbox, inbox))]
            return await self._attend(inbox, outbox)
        finally:
            self._outbox = None
            if call is not None:
                call.cancel()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await channel.close()

    async def _attend(
        self, inbox: asyncio.Queue[Event], outbox: asyncio.Queue[Any]
    ) -> tuple[session_pb2.Welcome | None, float | None]:
        now = self._monotonic()
        link = Link(heard_at=now, said_at=now)
        opened: session_pb2.Welcome | None = None
        while True:
            try:
                async with asyncio.timeout(link.heartbeat_s / 4):
                    event: Event = await inbox.get()
            except TimeoutError:
                event = Tick()
            now = self._monotonic()
            link, effects = message(link, event, now)
            link, due = message(link, Tick(), now)  # a busy stream must beat too
            for effect in (*effects, *due):
                match effect:
                    case Say(word):
                        outbox.put_nowait(word) if not outbox.full() else self._lost("the cloud does not read")
                    case Opened(welcome):
                        opened, self._outbox = welcome, outbox
                        self._welcomed(welcome)
                        for word in self._resume():
                            self.say(word)
                    case Deliver(word):
                        self._deliver(word)
                    case Note(event=name, fields=fields):
                        self._log(name, **dict(fields))
                    case Leave(after_s):
                        return opened, after_s


async def _read(call: Any, inbox: asyncio.Queue[Event], lost: Callable[[str], None]) -> None:
    try:
        while (word := await call.read()) is not grpc.aio.EOF:
            await inbox.put(Heard(word))
        detail = f"{(await call.code()).name}: {await call.details()}"
    except grpc.aio.AioRpcError as error:
        detail = f"{error.code().name}: {error.details()}"
    except (asyncio.InvalidStateError, grpc.aio.UsageError) as error:
        detail = f"the stream ended: {error}"
    lost(detail)


async def _write(call: Any, outbox: asyncio.Queue[session_pb2.ConnectRequest], inbox: asyncio.Queue[Event]) -> None:
    try:
        while True:
            await call.write(await outbox.get())
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
        return  # the reader says what happened: a refusal may still lie there to be read
