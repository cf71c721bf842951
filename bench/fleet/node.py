"""One node of the load: the agent's own session, with the answers of a good agent that has no model to load.

It sends a real hello, reports each step of an update after a desired state asked for one, measures the candidates that it is
asked to measure, and sends telemetry, which it repeats until it is acknowledged, at most OUTSTANDING at a time, as an agent does.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from littoral.fleet.v1 import session_pb2
from littoral_node.identity.identity import Identity
from littoral_node.link.channel import CloudChannels
from littoral_node.link.session import NodeSession, WayToCloud
from littoral_node.telemetry.outbox import OUTSTANDING

Request = session_pb2.ConnectRequest
STEPS = (
    session_pb2.UPDATE_STATE_DOWNLOADING,
    session_pb2.UPDATE_STATE_VERIFYING,
    session_pb2.UPDATE_STATE_PROBATION,
    session_pb2.UPDATE_STATE_SUCCEEDED,
)
DOWNLOAD_S = (0.05, 0.4)
VERIFY_S = (0.05, 0.2)
MEASURE_S = (0.1, 1.0)


@dataclass
class Counts:
    """Of all nodes of one driver since its start."""

    welcomed: int = 0
    lost: int = 0
    refused: int = 0
    cut: int = 0  # telemetry reports that were made
    acknowledged: int = 0
    reported: int = 0
    measured: int = 0
    last_welcome_at: float = 0.0  # by the monotonic clock, which all processes of a machine share


@dataclass(frozen=True, slots=True)
class Common:
    """What the nodes of one driver have in common. `hellos`: one for each class of hardware, without a boot id."""

    hellos: tuple[session_pb2.Hello, ...]
    report: session_pb2.TelemetryReport  # without boot, number and time
    counts: Counts = field(default_factory=Counts)
    channels: CloudChannels = field(default_factory=CloudChannels)


class LoadNode:
    """Implements littoral_node.link.messages.MessageParts."""

    def __init__(self, number: int, identity: Identity, common: Common, rng: random.Random) -> None:
        self.identity = identity
        self.boot_id = f"{rng.getrandbits(128):032x}"
        self.desired_at = 0.0  # when the newest desired state came, by the monotonic clock
        self.observed = 0  # its generation
        self.cut_last = 0  # number of the last telemetry report
        self.acknowledged_last = 0
        self._hello = common.hellos[number % len(common.hellos)]
        self._common = common
        self._rng = rng
        self._generation = 1
        self._models: dict[str, session_pb2.ReportedModel] = {}
        self._measured: dict[str, session_pb2.Measurement | None] = {}  # by manifest; None: is being measured
        self._waiting: deque[tuple[int, float]] = deque()  # numbers of reports that are not acknowledged, and their time
        self._sent = 0  # of those, from the front, in this session
        self.session = NodeSession(
            lambda: self,
            WayToCloud(lambda: common.channels.fleet(identity)),
            log=self._note,
            monotonic=time.monotonic,
            rng=rng,
        )

    # -- what the session asks -------------------------------------------------------------------------------------

    def hello(self) -> session_pb2.Hello:
        hello = session_pb2.Hello()
        hello.CopyFrom(self._hello)
        hello.boot_id = self.boot_id
        return hello

    def resume(self) -> Iterable[Request]:
        self._sent = min(OUTSTANDING, len(self._waiting))
        yield Request(reported=self._reported())
        for result in filter(None, self._measured.values()):
            yield Request(measurement=result)
        for number, at in list(self._waiting)[: self._sent]:
            yield Request(telemetry=self._report(number, at))

    def welcomed(self, welcome: session_pb2.Welcome) -> None:
        self._common.counts.welcomed += 1
        self._common.counts.last_welcome_at = time.monotonic()

    def received(self, message: session_pb2.ConnectResponse) -> Iterable[Request]:
        match message.WhichOneof("message"):
            case "desired":
                self.desired(message.desired)
            case "telemetry_ack":
                self.acknowledged(message.telemetry_ack)
            case "trust_anchors":
                return [Request(trust_report=session_pb2.TrustReport(number=message.trust_anchors.number))]
        return []

    def revoked(self) -> None:
        raise RuntimeError(f"node {self.identity.node_id} was revoked")

    def acknowledged(self, ack: session_pb2.TelemetryAck) -> None:
        while self._waiting and self._waiting[0][0] <= ack.sequence:
            self._waiting.popleft()
            self._sent = max(0, self._sent - 1)
            self._common.counts.acknowledged += 1
        self.acknowledged_last = max(self.acknowledged_last, ack.sequence)
        self._send_waiting()

    def desired(self, desired: session_pb2.DesiredState) -> None:
        if desired.generation <= self.observed:
            return
        self.observed, self.desired_at = desired.generation, time.monotonic()
        for digest in desired.benchmarks:
            if digest not in self._measured:
                self._measured[digest] = None
                self._later(MEASURE_S, self._measure, digest)
        for name, wanted in desired.models.items():
            known = self._models.get(name)
            if known is None or known.desired_generation < wanted.generation:
                self._models[name] = session_pb2.ReportedModel(
                    desired_generation=wanted.generation,
                    target_manifest_digest=wanted.manifest_digest,
                    serving_manifest_digest=known.serving_manifest_digest if known else "",
                    previous_manifest_digest=known.previous_manifest_digest if known else "",
                )
                self._step(name, wanted, 0)

    # -- an update -------------------------------------------------------------------------------------------------

    def _step(self, name: str, wanted: session_pb2.DesiredModel, step: int) -> None:
        model = self._models[name]
        if model.desired_generation != wanted.generation:
            return  # something newer is wanted
        model.state = STEPS[step]
        if STEPS[step] == session_pb2.UPDATE_STATE_PROBATION:
            model.previous_manifest_digest = model.serving_manifest_digest
            model.serving_manifest_digest = wanted.manifest_digest
        if STEPS[step] == session_pb2.UPDATE_STATE_SUCCEEDED:
            model.probation.requests = 64
        self._generation += 1
        self._common.counts.reported += self.session.send(Request(reported=self._reported()))
        if step + 1 < len(STEPS):
            lasts = (DOWNLOAD_S, VERIFY_S, (wanted.probation.duration_s, wanted.probation.duration_s + 0.1))[step]
            self._later(lasts, self._step, name, wanted, step + 1)

    def _measure(self, digest: str) -> None:
        hardware = self._hello.hardware
        result = session_pb2.Measurement(
            manifest_digest=digest,
            p50_ms=0.02,
            p95_ms=0.03 * self._rng.uniform(0.9, 1.1),
            p99_ms=0.05,
            peak_rss_bytes=2_000_000,
            start_ms=40.0,
            samples=200,
            load_average=0.5,
            runtime_version=hardware.runtimes[0].version,
            hardware_class=hardware.hardware_class,
        )
        self._measured[digest] = result
        self._common.counts.measured += self.session.send(Request(measurement=result))

    def _reported(self) -> session_pb2.ReportedState:
        return session_pb2.ReportedState(
            generation=self._generation, observed_generation=self.observed, models=dict(self._models)
        )

    def _later(self, between: tuple[float, float], act: object, *args: object) -> None:
        asyncio.get_running_loop().call_later(self._rng.uniform(*between), act, *args)  # type: ignore[arg-type]

    # -- telemetry -------------------------------------------------------------------------------------------------

    def cut(self, now: float) -> None:
        """Makes a report; it is sent at once where few are unacknowledged. `now`: seconds since 1970-01-01 UTC."""
        self.cut_last += 1
        self._common.counts.cut += 1
        self._waiting.append((self.cut_last, now))
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self.session.connected and self._sent < min(OUTSTANDING, len(self._waiting)):
            if not self.session.send(Request(telemetry=self._report(*self._waiting[self._sent]))):
                return
            self._sent += 1

    def _report(self, number: int, at: float) -> session_pb2.TelemetryReport:
        report = session_pb2.TelemetryReport()
        report.CopyFrom(self._common.report)
        report.boot_id, report.sequence = self.boot_id, number
        report.window_start_unix_ms, report.window_end_unix_ms = round((at - 10) * 1_000), round(at * 1_000)
        return report

    def _note(self, event: str, **fields: object) -> None:
        if event == "session-lost":
            self._common.counts.lost += 1
        elif event == "session-refused":
            self._common.counts.refused += 1
