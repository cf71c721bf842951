"""Telemetry on its way to the cloud: windows are cut, kept until they are acknowledged, and said again after a lost session.

While the cloud is away they are written to the disk once a minute, so that a restart loses none and a power cut at most that
minute; while it is there nothing is written. Too many of them are added up, the oldest first (backlog.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from littoral.fleet.v1 import session_pb2
from littoral_node.identity.files import Damaged, unsaid
from littoral_node.telemetry.backlog import MOST_WORD, Waiting, thinned, too_much
from littoral_node.telemetry.counting import TelemetryWindows
from littoral_node.telemetry.spool import Spool
from littoral_node.telemetry.wire import report_to

OUTSTANDING = 32
"""Reports that are said before the first of them is acknowledged: a fleet that comes back must not come all at once."""
SPOOL_EVERY_S = 60.0

_FIRST_INTERVAL_S = 10.0


class Reports:
    """Args:
    say: hands a word to the session that is open; False where none is.
    connected: whether one is.
    spool: what an earlier process left there is read at once.
    """

    def __init__(
        self,
        telemetry: TelemetryWindows,
        boot_id: str,
        say: Callable[[session_pb2.ConnectRequest], bool],
        connected: Callable[[], bool],
        spool: Spool,
        log: Callable[..., None],
        damaged: Damaged = unsaid,
    ) -> None:
        self._telemetry = telemetry
        self._boot_id = boot_id
        self._say = say
        self._connected = connected
        self._spool = spool
        self._log = log
        self._sequence = 0
        self._waiting, lost = spool.read()  # those that were ever said stand before the others
        self._kept = len(self._waiting)  # the first so many of them are on the disk
        self._out: int | None = None  # the first so many were said to this session; None: there is none
        self._spooled_at: float | None = None
        self._interval_s = _FIRST_INTERVAL_S
        self._changed = asyncio.Event()
        if lost:
            log("telemetry-damaged", bytes=lost, detail="what stands behind a damaged record is lost")
            damaged(spool.path, f"{lost} bytes behind a damaged record are lost")
            self._rewrite()

    def every(self, interval_s: float) -> None:
        """How often a window is cut; seconds."""
        if 0 < interval_s < 86_400 and interval_s != self._interval_s:
            self._interval_s = interval_s
            self._changed.set()

    def resume(self) -> Iterable[session_pb2.ConnectRequest]:
        """The first words to a new session; the next ones follow as these are acknowledged."""
        if any(not entry.said for entry in self._waiting[: self._kept]):
            self._on_disk(self._spool.mark_said)  # before they are said: from then on they may have been counted
            self._waiting[: self._kept] = [replace(entry, said=True) for entry in self._waiting[: self._kept]]
        self._out, self._spooled_at = 0, None
        return [session_pb2.ConnectRequest(telemetry=self._next()) for _ in self._waiting[:OUTSTANDING]]

    def acknowledge(self, sequence: int, boot_id: str = "") -> None:
        """Every report of a boot up to a sequence is safe; "": of the boot of the oldest that was said."""
        if not self._out:
            return
        boot = boot_id or self._waiting[0].boot_id
        safe = {i for i, entry in enumerate(self._waiting[: self._out]) if entry.boot_id == boot and entry.sequence <= sequence}
        self._waiting = [entry for i, entry in enumerate(self._waiting) if i not in safe]
        self._out -= len(safe)
        if self._kept:
            self._kept -= sum(i < self._kept for i in safe)
            if not self._kept:
                self._on_disk(self._spool.clear)
        self._send()

    def flush(self, now: float) -> None:
        """Cuts a window at `now` (seconds since 1970-01-01 UTC) and sends what it held."""
        for report in self._telemetry.reports(now):
            self._sequence += 1
            word = report_to(report, self._boot_id, self._sequence)
            if (size := word.ByteSize()) > MOST_WORD:  # a model with too many classes or too wide a sketch: it can never be said
                self._log("telemetry-dropped", model=report.model, detail=f"{size} bytes, at most {MOST_WORD} are sent")
                continue
            self._waiting.append(Waiting.of(word))
        if not self._connected():
            self._out = None
        self._send()
        if too_much(self._waiting):
            self._thin()
        if self._out is None and (self._spooled_at is None or not 0 <= now - self._spooled_at < SPOOL_EVERY_S):
            self._spooled_at = now
            self._keep()

    async def run(self, clock: Callable[[], float]) -> None:
        """Until cancelled."""
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._changed.wait()
            except TimeoutError:
                self.flush(clock())

    def close(self, now: float) -> None:
        """The last window; what was not acknowledged goes to the disk."""
        self.flush(now)
        self._keep()

    def _send(self) -> None:
        while self._out is not None and self._out < min(OUTSTANDING, len(self._waiting)):
            if not self._say(session_pb2.ConnectRequest(telemetry=self._next())):
                self._out = None

    def _next(self) -> session_pb2.TelemetryReport:
        """The next one that this session has not heard."""
        assert self._out is not None
        entry = self._waiting[self._out]
        self._waiting[self._out] = replace(entry, said=True)
        self._out += 1
        return entry.report()

    def _thin(self) -> None:
        before = len(self._waiting)
        self._waiting, gone = thinned(self._waiting)
        self._log("telemetry-added-up", reports=before, now=len(self._waiting))
        if gone:
            self._log("telemetry-dropped", reports=len(gone), requests=sum(entry.report().requests for entry in gone))
        if self._out is not None:
            self._out = max(0, self._out - len(gone))
        self._rewrite()

    def _rewrite(self) -> None:
        self._kept = len(self._waiting) if self._on_disk(lambda: self._spool.keep(self._waiting)) else 0
        if not self._kept:
            self._on_disk(self._spool.clear)  # nothing there rather than what is no longer so

    def _keep(self) -> None:
        """What waits and is not on the disk yet."""
        fresh = self._waiting[self._kept :]
        if fresh and self._on_disk(lambda: self._spool.append(fresh)):
            self._kept = len(self._waiting)

    def _on_disk(self, act: Callable[[], None]) -> bool:
        """A disk that is full must not end the telemetry: it is kept in memory, and said."""
        try:
            act()
        except OSError as error:
            self._log("telemetry-not-kept", detail=f"{error.strerror}: lost if the agent ends before the cloud is back")
            return False
        return True
