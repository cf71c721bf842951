"""The session: its pure step, and the shell around it over real gRPC with a cloud that follows a script."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import TooLarge, Unavailable
from littoral.fleet.v1 import session_pb2, session_pb2_grpc
from littoral.transport import CLIENT_OPTIONS, LONGEST_BACKOFF_S, MAX_MESSAGE_BYTES
from littoral_node.link.messages import SessionMessages
from littoral_node.link.retry import BACKOFF, FLAPS_MOST, RECENT_S, SOON, SPREAD_MOST_S, next_attempt, pause_s
from littoral_node.link.session import NodeSession, WayToCloud
from littoral_node.link.state import (
    SLOW_RETRY_S,
    Deliver,
    Leave,
    LinkPhase,
    LinkState,
    Lost,
    Opened,
    Received,
    Send,
    Tick,
    step,
)
from littoral_node.telemetry.counting import TelemetryWindows
from littoral_node.telemetry.outbox import TelemetryOutbox
from littoral_node.telemetry.spool import Spool
from tests.kit.patience import PATIENCE_S

Response = session_pb2.ConnectResponse
Reason = session_pb2.RefusalReason
WELCOME = Response(welcome=session_pb2.Welcome(node_id="n1", heartbeat_interval_s=10))


def opened(at: float = 0.0) -> LinkState:
    link, effects = step(LinkState(received_at=at, beat_at=at), Received(WELCOME), at)
    assert any(isinstance(effect, Opened) for effect in effects)
    return link


def desired(generation: int) -> Response:
    return Response(desired=session_pb2.DesiredState(generation=generation))


def test_three_silent_intervals_end_a_stream_and_any_word_keeps_it() -> None:
    link = opened()
    for now in range(1, 100):
        link, effects = step(link, Received(Response(telemetry_ack=session_pb2.TelemetryAck())), float(now * 20))
        assert Leave() not in effects
    link, effects = step(link, Tick(), 1980.0 + 29.9)
    assert Leave() not in effects
    link, effects = step(link, Tick(), 1980.0 + 30.1)
    assert effects[-1] == Leave()
    assert link.phase is LinkPhase.ENDED


def test_a_heartbeat_goes_out_each_interval_and_its_echo_is_not_echoed() -> None:
    link, beats = opened(), []
    for tenth in range(1, 1000):
        link, effects = step(link, Tick(), tenth / 10)
        for effect in effects:
            assert isinstance(effect, Send)
            beats.append(effect.message.heartbeat.sequence)
            link, back = step(link, Received(Response(heartbeat=effect.message.heartbeat)), tenth / 10)
            assert back == ()
    assert beats == list(range(1, 10))


def test_a_foreign_heartbeat_is_echoed_once() -> None:
    beat = Response(heartbeat=session_pb2.Heartbeat(sequence=77))
    link, effects = step(opened(), Received(beat), 1.0)
    assert effects == (Send(session_pb2.ConnectRequest(heartbeat=session_pb2.Heartbeat(sequence=77))),)
    assert step(link, Received(beat), 1.0)[1] == ()


def test_a_late_desired_state_changes_nothing_and_a_repeated_one_is_delivered() -> None:
    link, effects = step(opened(), Received(desired(5)), 1.0)
    assert effects == (Deliver(desired(5)),)
    assert step(link, Received(desired(4)), 1.0)[1] == ()
    assert step(link, Received(desired(5)), 1.0)[1] == (Deliver(desired(5)),)


def test_nothing_is_delivered_before_welcome() -> None:
    assert step(LinkState(0.0, 0.0), Received(desired(1)), 0.0)[1] == ()


@pytest.mark.parametrize(
    ("reason", "asked", "expected"),
    [
        (Reason.REFUSAL_REASON_PROTOCOL_UNSUPPORTED, 3600.0, 3600.0),
        (Reason.REFUSAL_REASON_PROTOCOL_UNSUPPORTED, 0.0, SLOW_RETRY_S),
        (Reason.REFUSAL_REASON_NODE_REVOKED, 0.0, 60.0),
        (Reason.REFUSAL_REASON_NODE_UNKNOWN, 0.0, SLOW_RETRY_S),
        (Reason.REFUSAL_REASON_PROTOCOL_VIOLATION, 0.0, SLOW_RETRY_S),
        (Reason.REFUSAL_REASON_UNAVAILABLE, 2.0, 2.0),
        (Reason.REFUSAL_REASON_UNAVAILABLE, 0.0, None),
        (Reason.REFUSAL_REASON_SUPERSEDED, 0.0, None),
        (Reason.REFUSAL_REASON_UNSPECIFIED, 0.0, None),
        (Reason.REFUSAL_REASON_CERTIFICATE_EXPIRED, 5.0, 5.0),
        (Reason.REFUSAL_REASON_NODE_WAITING, 60.0, 60.0),
        (99, 0.0, SLOW_RETRY_S),  # of a newer cloud
    ],
)
def test_each_refusal_says_when_to_ask_again(reason: Any, asked: float, expected: float | None) -> None:
    refusal = Response(refusal=session_pb2.Refusal(reason=reason, detail="d", retry_after_s=asked))
    for link in (LinkState(0.0, 0.0), opened()):
        after, effects = step(link, Received(refusal), 1.0)
        assert effects[-1] == Leave(expected)
        assert after.phase is LinkPhase.ENDED


_messages = st.one_of(
    st.just(WELCOME),
    st.integers(0, 9).map(desired),
    st.integers(0, 99).map(lambda n: Response(heartbeat=session_pb2.Heartbeat(sequence=n))),
    st.just(Response()),
    st.just(Response(telemetry_ack=session_pb2.TelemetryAck(sequence=3))),
)
_events = st.one_of(_messages.map(Received), st.just(Tick()), st.just(Lost("x")))


@given(st.lists(st.tuples(_events, st.floats(0, 40)), max_size=60))
def test_whatever_comes_generations_never_fall_and_an_end_is_an_end(script: list[tuple[Any, float]]) -> None:
    link, now, seen, ended = LinkState(0.0, 0.0), 0.0, -1, 0
    for event, pause in script:
        now += pause
        was_over = link.phase is LinkPhase.ENDED
        link, effects = step(link, event, now)
        if was_over:
            assert effects == ()
        ended += sum(isinstance(effect, Leave) for effect in effects)
        for effect in effects:
            if isinstance(effect, Deliver) and effect.message.HasField("desired"):
                assert effect.message.desired.generation >= seen
                seen = effect.message.desired.generation
    assert ended <= 1
    assert (link.phase is LinkPhase.ENDED) == (ended == 1)


@given(st.integers(0, 20), st.integers())
def test_a_fleet_comes_back_as_spread_as_the_cloud_asked_and_never_before_a_refusal_says(attempt: int, seed: int) -> None:
    rng = random.Random(seed)
    assert pause_s(0, None, rng) <= BACKOFF.first_s
    assert pause_s(attempt, 0.0, rng, 100.0) == 0.0
    assert 2.0 <= pause_s(attempt, 2.0, rng) <= 2.0 + BACKOFF.most_s
    assert pause_s(attempt, None, rng, 1e9) <= SPREAD_MOST_S + BACKOFF.first_s
    assert pause_s(attempt, None, rng, lost_s=RECENT_S - 1) <= SOON.most_s
    assert max(pause_s(0, None, random.Random(seed + n), 100.0) for n in range(64)) > 50.0
    assert max(pause_s(attempt, None, random.Random(seed + n), 100.0) for n in range(64)) > 50.0  # each loss is a new draw
    assert 0 <= pause_s(attempt, None, rng, 1e9, again=True) - SPREAD_MOST_S <= BACKOFF.first_s
    assert pause_s(attempt, 2.0, rng, 100.0) <= 2.0 + BACKOFF.most_s  # the cloud spreads whom it sends away


@pytest.mark.parametrize("down_s", [0.0, 3.0, 20.0, 300.0])
def test_a_fleet_comes_back_at_the_rate_that_the_cloud_asked_for_however_long_it_was_away(down_s: float) -> None:
    nodes, a_second = 2_000, 250
    came: Counter[int] = Counter()
    for number in range(nodes):
        rng, at, attempt = random.Random(number), 0.0, 0
        at += pause_s(attempt, None, rng, nodes / a_second, lost_s=at)
        while at < down_s:  # nobody answers there
            attempt = next_attempt(attempt, welcomed=False, lasted=False)
            at += pause_s(attempt, None, rng, nodes / a_second, lost_s=at, again=True)
        came[int(at - down_s)] += 1
    assert max(came.values()) <= 1.25 * a_second
    assert max(came) <= nodes / a_second + BACKOFF.first_s


Script = Callable[[Any, Any], Awaitable[None]]


@asynccontextmanager
async def cloud_that(script: Script) -> AsyncIterator[Callable[[], grpc.aio.Channel]]:
    class Servicer(session_pb2_grpc.SessionServiceServicer):
        async def Connect(self, requests: Any, context: Any) -> None:
            await script(context, await context.read())

    server = grpc.aio.server()
    session_pb2_grpc.add_SessionServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield lambda: grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CLIENT_OPTIONS)
    finally:
        await server.stop(None)


class Recorder:
    """A session whose pauses are noted, not waited for."""

    def __init__(
        self,
        open: Callable[[], grpc.aio.Channel],
        monotonic: Callable[[], float] = time.monotonic,
        *,
        sleep: Callable[[float], Awaitable[None]] | None = None,
        barred: Callable[[], str] = str,
        elsewhere: Callable[[], None] = lambda: None,
    ) -> None:
        self.delivered: asyncio.Queue[session_pb2.DesiredState] = asyncio.Queue()
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.pauses: asyncio.Queue[float] = asyncio.Queue()
        self.refusals: list[tuple[str, str]] = []
        telemetry = TelemetryOutbox(
            TelemetryWindows(), "b", lambda message: False, lambda: False, Spool(Path("/nonexistent")), lambda event, **_: None
        )
        self.session = NodeSession(
            lambda: SessionMessages(
                lambda: session_pb2.Hello(protocol_version=1, boot_id="b"),
                lambda: [session_pb2.ConnectRequest(reported=session_pb2.ReportedState(generation=7))],
                telemetry,
                [self],
                lambda welcome: None,
                lambda message: session_pb2.TrustReport(number=message.number),
                lambda: self.refusals.append(("left", "")),
            ),
            WayToCloud(open, barred, elsewhere=elsewhere, refused=lambda *refusal: self.refusals.append(refusal)),
            log=lambda event, **fields: self.log.append((event, fields)),
            monotonic=monotonic,
            rng=random.Random(1),
            sleep=sleep or self._sleep,
        )

    def set_desired(self, desired: session_pb2.DesiredState) -> None:
        self.delivered.put_nowait(desired)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.put_nowait(seconds)
        await asyncio.sleep(0.01)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.session.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_after_welcome_what_is_so_is_said_and_what_should_be_is_delivered() -> None:
    said: asyncio.Queue[Any] = asyncio.Queue()

    async def script(context: Any, hello: Any) -> None:
        said.put_nowait(hello)
        await context.write(WELCOME)
        await context.write(desired(3))
        while (word := await context.read()) is not grpc.aio.EOF:
            said.put_nowait(word)

    async with cloud_that(script) as open:
        recorder = Recorder(open)
        assert not recorder.session.send(session_pb2.ConnectRequest())  # not open yet
        async with recorder.running():
            assert (await said.get()).hello.boot_id == "b"
            assert (await said.get()).reported.generation == 7
            assert (await recorder.delivered.get()).generation == 3
            assert recorder.session.connected
            telemetry = session_pb2.TelemetryReport(boot_id="b", sequence=1)
            assert recorder.session.send(session_pb2.ConnectRequest(telemetry=telemetry))
            assert (await said.get()).telemetry.sequence == 1
            huge = session_pb2.ReportedState(problem="x" * MAX_MESSAGE_BYTES)
            with pytest.raises(TooLarge, match="message reported"):
                recorder.session.send(session_pb2.ConnectRequest(reported=huge))
        assert not recorder.session.connected


@pytest.mark.parametrize(
    ("reason", "heard"),
    [
        (Reason.REFUSAL_REASON_NODE_REVOKED, [("revoked", "d"), ("left", "")]),
        (Reason.REFUSAL_REASON_NODE_WAITING, [("waits", "d")]),
        (Reason.REFUSAL_REASON_UNAVAILABLE, []),
    ],
)
async def test_what_an_operator_decided_is_heard_by_its_code(reason: Any, heard: list[tuple[str, str]]) -> None:
    async def script(context: Any, hello: Any) -> None:
        await context.write(Response(refusal=session_pb2.Refusal(reason=reason, detail="d")))

    async with cloud_that(script) as open:
        recorder = Recorder(open)
        async with recorder.running():
            await recorder.pauses.get()
            assert recorder.refusals[: len(heard) or 1] == heard


async def test_a_node_that_was_taken_out_asks_after_a_minute_and_then_less_often_until_it_is_let_in() -> None:
    streams = 0

    async def script(context: Any, hello: Any) -> None:
        nonlocal streams
        streams += 1
        if streams == 9:
            await context.write(WELCOME)
        await context.write(Response(refusal=session_pb2.Refusal(reason=Reason.REFUSAL_REASON_NODE_REVOKED, detail="d")))

    async with cloud_that(script) as open:
        recorder = Recorder(open)
        async with recorder.running():
            pauses = [await recorder.pauses.get() for _ in range(9)]
    least = [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0, 60.0]  # the ninth had a session before
    assert all(asked <= pause <= asked + LONGEST_BACKOFF_S for asked, pause in zip(least, pauses, strict=True)), pauses


async def test_a_stream_that_ends_is_opened_again() -> None:
    times = 0

    async def script(context: Any, hello: Any) -> None:
        nonlocal times
        times += 1
        await context.write(WELCOME)
        if times < 4:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        await context.write(desired(times))
        await context.read()
        await context.read()

    async with cloud_that(script) as open:
        recorder = Recorder(open)
        async with recorder.running():
            assert (await recorder.delivered.get()).generation == 4
        assert recorder.pauses.qsize() == 3


async def test_after_a_session_that_held_the_first_pause_is_short_and_after_one_that_did_not_it_grows() -> None:
    held_s, now = 20.0, [0.0]

    async def script(context: Any, hello: Any) -> None:
        await context.write(WELCOME)
        now[0] += held_s
        await context.abort(grpc.StatusCode.UNAVAILABLE, "killed")

    async with cloud_that(script) as open:
        recorder = Recorder(open, lambda: now[0])
        async with recorder.running():
            assert max([await recorder.pauses.get() for _ in range(12)]) <= BACKOFF.first_s
        held_s, recorder = 1.0, Recorder(open, lambda: now[0])  # less than the heartbeat of its Welcome: it flaps
        async with recorder.running():
            pauses = [await recorder.pauses.get() for _ in range(24)]
        assert BACKOFF.first_s < max(pauses) <= BACKOFF.first_s * 2**FLAPS_MOST < BACKOFF.most_s


async def test_a_cloud_that_falls_silent_is_left() -> None:
    async def script(context: Any, hello: Any) -> None:
        await context.write(Response(welcome=session_pb2.Welcome(node_id="n1", heartbeat_interval_s=0.05)))
        while await context.read() is not grpc.aio.EOF:
            continue

    async with cloud_that(script) as open:
        recorder = Recorder(open)
        async with recorder.running():
            await recorder.pauses.get()
    assert any(event == "session-lost" and "no message for" in fields["detail"] for event, fields in recorder.log)


async def test_a_refusal_is_read_although_the_stream_ends_at_once() -> None:
    async def script(context: Any, hello: Any) -> None:
        refusal = session_pb2.Refusal(reason=Reason.REFUSAL_REASON_PROTOCOL_UNSUPPORTED, detail="upgrade", retry_after_s=1000)
        await context.write(Response(refusal=refusal))

    async with cloud_that(script) as open:
        recorder = Recorder(open)
        async with recorder.running():
            assert 1000 <= await recorder.pauses.get() <= 1000 + BACKOFF.first_s
    assert recorder.log[0][0] == "session-refused"


async def test_a_cloud_that_is_not_there_is_asked_for_ever_longer_pauses() -> None:
    recorder = Recorder(lambda: grpc.aio.insecure_channel("127.0.0.1:9", options=CLIENT_OPTIONS))
    async with recorder.running():
        pauses = [await recorder.pauses.get() for _ in range(5)]
    assert all(0 <= pause <= 0.5 * 2**n for n, pause in enumerate(pauses))


async def test_with_another_certificate_a_new_channel_is_opened_at_once() -> None:
    channels: list[grpc.aio.Channel] = []

    async def script(context: Any, hello: Any) -> None:
        await context.write(WELCOME)
        await context.write(desired(len(channels)))
        while await context.read() is not grpc.aio.EOF:
            continue

    async with cloud_that(script) as open:

        def opening() -> grpc.aio.Channel:
            channels.append(open())
            return channels[-1]

        recorder = Recorder(opening)
        async with recorder.running():
            assert (await recorder.delivered.get()).generation == 1
            recorder.session.reopen()
            assert (await recorder.delivered.get()).generation == 2
        assert recorder.pauses.get_nowait() == 0.0
        assert [event for event, _ in recorder.log if event != "session-retry"] == [
            "session-open",
            "session-reopened",
            "session-open",
        ]


async def test_a_pause_ends_when_there_is_another_certificate() -> None:
    waits = asyncio.Event()
    tries: list[int] = []

    def opening() -> grpc.aio.Channel:
        tries.append(1)
        raise Unavailable("identity is damaged: cert.pem: not what node.json names")

    recorder = Recorder(opening, sleep=lambda seconds: _for_ever(waits))
    async with recorder.running():
        await waits.wait()
        assert len(tries) == 1
        waits.clear()
        recorder.session.reopen()
        await waits.wait()
    assert len(tries) == 2
    assert recorder.log[0] == ("session-lost", {"detail": "identity is damaged: cert.pem: not what node.json names"})
    assert SLOW_RETRY_S * 0.8 <= recorder.log[1][1]["after_s"] <= SLOW_RETRY_S * 1.2


async def _for_ever(waits: asyncio.Event) -> None:
    waits.set()
    await asyncio.Event().wait()


async def test_a_node_that_knows_that_its_certificate_has_expired_says_so_and_asks_seldom() -> None:
    def nowhere() -> grpc.aio.Channel:
        return grpc.aio.insecure_channel("127.0.0.1:9", options=CLIENT_OPTIONS)

    recorder = Recorder(nowhere, barred=lambda: "the certificate expired 10.0 days ago")
    async with recorder.running():
        assert await recorder.pauses.get() >= SLOW_RETRY_S * 0.8
    assert recorder.log[0][0] == "session-lost"
    assert recorder.log[0][1]["detail"].startswith("the certificate expired 10.0 days ago (UNAVAILABLE: ")


async def test_a_session_that_broke_comes_back_and_one_that_was_sent_away_or_not_opened_goes_elsewhere() -> None:
    ends: list[str] = ["break", "refuse-open", "refuse", "die"]
    went: list[str] = []
    pauses: list[float] = []

    async def script(context: Any, _: Any) -> None:
        how = ends[min(len(pauses), len(ends) - 1)]
        if how != "refuse" and how != "die":
            await context.write(WELCOME)
        if how.startswith("refuse"):
            refusal = session_pb2.Refusal(reason=Reason.REFUSAL_REASON_UNAVAILABLE, detail="drains", retry_after_s=0.1)
            await context.write(Response(refusal=refusal))
        if how == "die":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    async with cloud_that(script) as open:
        recorder = Recorder(open, elsewhere=lambda: went.append(ends[len(pauses)]))
        async with recorder.running():
            while len(pauses) < len(ends):
                pauses.append(await recorder.pauses.get())
    assert went == ends[1:]
