"""Telemetry on its way to the cloud: windows are cut, kept until they are acknowledged, and said again after a lost session."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from edge_node.telemetry import Telemetry
from edge_node.wire import report_to
from littoral.errors import TooLarge
from littoral.fleet.v1 import session_pb2

KEPT_REPORTS = 200
"""Reports that wait for a cloud that is away; the oldest go first."""

_FIRST_INTERVAL_S = 10.0


class Reports:
    """Args:
    say: hands a word to the session; False where none is open.
    """

    def __init__(
        self, telemetry: Telemetry, boot_id: str, say: Callable[[session_pb2.ConnectRequest], bool], log: Callable[..., None]
    ) -> None:
        self._telemetry = telemetry
        self._boot_id = boot_id
        self._say = say
        self._log = log
        self._sequence = 0
        self._waiting: deque[session_pb2.TelemetryReport] = deque(maxlen=KEPT_REPORTS)
        self._interval_s = _FIRST_INTERVAL_S
        self._changed = asyncio.Event()

    def every(self, interval_s: float) -> None:
        """How often a window is cut; seconds."""
        if 0 < interval_s < 86_400 and interval_s != self._interval_s:
            self._interval_s = interval_s
            self._changed.set()

    def acknowledge(self, sequence: int) -> None:
        while self._waiting and self._waiting[0].sequence <= sequence:
            self._waiting.popleft()

    def unacknowledged(self) -> Iterable[session_pb2.ConnectRequest]:
        return [session_pb2.ConnectRequest(telemetry=report) for report in self._waiting]

    def flush(self, now: float) -> None:
        """Cuts a window at `now` (seconds since 1970-01-01 UTC) and sends what it held."""
        for report in self._telemetry.reports(now):
            self._sequence += 1
            word = report_to(report, self._boot_id, self._sequence)
            try:
                self._say(session_pb2.ConnectRequest(telemetry=word))
            except TooLarge as error:  # a model with too many classes or too wide a sketch: it can never be said
                self._log("telemetry-dropped", model=report.model, detail=str(error))
                continue
            self._waiting.append(word)

    async def run(self, clock: Callable[[], float]) -> None:
        """Until cancelled."""
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._changed.wait()
            except TimeoutError:
                self.flush(clock())
