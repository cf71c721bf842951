"""The one outbound channel to the cloud: small messages over a long-lived stream, mutual TLS, reconnected for ever.

`NodeSession` is the thin shell around littoral_node.link.state, which decides. A refusal never stops the agent: it serves what it
has, and asks again when the refusal allows it, or slowly.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from littoral.errors import FleetError, Revoked, TooLarge
from littoral.fleet.v1 import session_pb2, session_pb2_grpc
from littoral.transport import MAX_MESSAGE_BYTES
from littoral_node.link.messages import MessageParts
from littoral_node.link.retry import RECENT_S, next_attempt, pause_s
from littoral_node.link.state import (
    SLOW_RETRY_S,
    Barred,
    Deliver,
    Leave,
    LinkEvent,
    LinkState,
    Lost,
    Note,
    Opened,
    Received,
    Renewed,
    Send,
    Tick,
    step,
)

WAITING_MESSAGES = 1024
"""Messages that may wait for a cloud that does not read; one more ends the stream."""


def _nothing(*_: object) -> None:
    return


@dataclass(frozen=True, slots=True)
class WayToCloud:
    """Args:
    open: a new channel; each stream has its own, since a certificate counts at the handshake alone. Raises FleetError where this
        node has nothing to open one with.
    barred: why no stream can be opened, as after the certificate expired; empty: one may.
    learn: called with the addresses of fleet and of enrolment listeners that each Welcome names.
    elsewhere: called when a coordinator sent the node away, or cannot be reached: the next channel may go to another one.
    refused: called with a stable code and the words of a refusal that an operator alone can lift.
    """

    open: Callable[[], grpc.aio.Channel]
    barred: Callable[[], str] = str
    learn: Callable[[Iterable[str], Iterable[str]], None] = _nothing
    elsewhere: Callable[[], None] = _nothing
    refused: Callable[[str, str], None] = _nothing


class NodeSession:
    """Args:
    messages: asked at each stream.
    way: to the coordinators.
    """

    def __init__(
        self,
        messages: Callable[[], MessageParts],
        way: WayToCloud,
        *,
        log: Callable[..., None],
        monotonic: Callable[[], float],
        rng: random.Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._messages = messages
        self._way = way
        self._log = log
        self._monotonic = monotonic
        self._rng = rng
        self._sleep = sleep
        self._outbox: asyncio.Queue[session_pb2.ConnectRequest] | None = None  # None: no stream is open
        self._lost: Callable[[str], None] = lambda detail: None
        self._end: Callable[[], None] = lambda: None
        self._revoked = 0  # streams in a row that heard that the node was taken out
        self._anew = asyncio.Event()  # ends the pause before the next stream

    @property
    def connected(self) -> bool:
        return self._outbox is not None

    def send(self, message: session_pb2.ConnectRequest) -> bool:
        """Gives a message to the open stream; False where there is none: `resume` sends what matters again.

        Raises TooLarge where the message is over MAX_MESSAGE_BYTES: it would end the stream.
        """
        if (size := message.ByteSize()) > MAX_MESSAGE_BYTES:
            kind = message.WhichOneof("message")
            raise TooLarge(
                f"message {kind}: {size} bytes, at most {MAX_MESSAGE_BYTES} are sent", hint="big things travel as blobs"
            )
        if self._outbox is None:
            return False
        try:
            self._outbox.put_nowait(message)
        except asyncio.QueueFull:
            self._lost(f"the cloud has not read {WAITING_MESSAGES} messages")
            return False
        return True

    def send_made(self, make: Callable[[], session_pb2.ConnectRequest]) -> bool:
        """As `send`, of a message that is made only where a stream is open: a new stream starts with `resume`."""
        return self.connected and self.send(make())

    def reopen(self) -> None:
        """Ends the stream, or the pause before the next: this node has another certificate."""
        self._anew.set()
        self._end()

    async def run(self) -> None:
        """Until cancelled. Never raises for what the network or the cloud does."""
        attempt, spread_s, lost_at = -1, 0.0, -RECENT_S
        while True:
            began = self._monotonic()
            self._anew.clear()
            try:
                welcome, after = await self._stream()
            except FleetError as error:
                self._log("session-lost", detail=str(error))
                welcome, after = None, SLOW_RETRY_S
            if after != 0 and (welcome is None or after is not None):  # a session that only broke comes back to where it was
                self._way.elsewhere()
            if welcome is None and after is None and self._way.barred():
                after = SLOW_RETRY_S
            if welcome is not None:
                spread_s, lost_at = welcome.reconnect_spread_s, self._monotonic()
            lasted = welcome is not None and self._monotonic() - began >= welcome.heartbeat_interval_s
            attempt = next_attempt(attempt, welcomed=welcome is not None, lasted=lasted)
            lost_s = self._monotonic() - lost_at
            wait = pause_s(attempt, after, self._rng, spread_s, lost_s=lost_s, again=welcome is None)
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
        inbox: asyncio.Queue[LinkEvent] = asyncio.Queue()
        outbox: asyncio.Queue[session_pb2.ConnectRequest] = asyncio.Queue(WAITING_MESSAGES)
        self._lost = lambda detail: inbox.put_nowait(Lost(f"{barred} ({detail})" if (barred := self._way.barred()) else detail))
        self._end = lambda: inbox.put_nowait(Renewed())
        channel = self._way.open()
        pumps: list[asyncio.Task[None]] = []
        call: Any = None
        try:
            call = session_pb2_grpc.SessionServiceStub(channel).Connect()
            outbox.put_nowait(session_pb2.ConnectRequest(hello=self._messages().hello()))
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
        self, inbox: asyncio.Queue[LinkEvent], outbox: asyncio.Queue[Any]
    ) -> tuple[session_pb2.Welcome | None, float | None]:
        now = self._monotonic()
        link = LinkState(received_at=now, beat_at=now, revoked=self._revoked)
        opened: session_pb2.Welcome | None = None
        while True:
            try:
                async with asyncio.timeout(link.heartbeat_s / 4):
                    event: LinkEvent = await inbox.get()
            except TimeoutError:
                event = Tick()
            now = self._monotonic()
            link, effects = step(link, event, now)
            link, due = step(link, Tick(), now)  # a busy stream must send heartbeats too
            for effect in (*effects, *due):
                match effect:
                    case Send(message):
                        outbox.put_nowait(message) if not outbox.full() else self._lost("the cloud does not read")
                    case Opened(welcome):
                        opened, self._outbox, self._revoked = welcome, outbox, 0
                        self._way.learn(welcome.fleet_addresses, welcome.enrolment_addresses)
                        self._messages().welcomed(welcome)
                        for message in self._messages().resume():
                            self.send(message)
                    case Deliver(message):
                        for answer in self._messages().received(message):
                            self.send(answer)
                    case Barred(code, detail):
                        self._way.refused(code, detail)
                        if code == Revoked.code:
                            self._revoked += 1
                            self._messages().revoked()
                    case Note(event=name, fields=fields):
                        self._log(name, **dict(fields))
                    case Leave(after_s):
                        return opened, after_s


async def _read(call: Any, inbox: asyncio.Queue[LinkEvent], lost: Callable[[str], None]) -> None:
    try:
        while (message := await call.read()) is not grpc.aio.EOF:
            await inbox.put(Received(message))
        detail = f"{(await call.code()).name}: {await call.details()}"
    except grpc.aio.AioRpcError as error:
        detail = f"{error.code().name}: {error.details()}"
    except (asyncio.InvalidStateError, grpc.aio.UsageError) as error:
        detail = f"the stream ended: {error}"
    lost(detail)


async def _write(call: Any, outbox: asyncio.Queue[session_pb2.ConnectRequest], inbox: asyncio.Queue[LinkEvent]) -> None:
    try:
        while True:
            await call.write(await outbox.get())
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
        return  # the reader says what happened: a refusal may still lie there to be read
