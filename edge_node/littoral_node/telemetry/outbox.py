"""Telemetry on its way to the cloud: reports wait here until the cloud acknowledges them.

One list, in order of sequence, with two cursors. `_sent` reports, from the front, went out in this session; `_spooled` of them,
from the front, are on the disk.

    1. A report is cut every interval and joins the end. It is sent at once where fewer than OUTSTANDING are unacknowledged.
    2. An acknowledgement of a sequence removes every report of that boot up to it, and the next ones are sent.
    3. A new session starts from the front again: what was sent and not acknowledged may be counted, and is only sent again.
    4. While the cloud is away, what is not on the disk yet is appended once a minute: a restart loses nothing, a power cut at
    most
       that minute. While the cloud is there nothing is written.
    5. Too many reports are added up, the oldest first (backlog.py).

Example: reports 1, 2, 3 wait, all sent. The cloud acknowledges 2 and the session ends: 3 stays, with no report sent. Report 4
joins; the next session sends 3 and 4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from littoral.fleet.v1 import session_pb2
from littoral_node.identity.files import Damaged, ignore_damage
from littoral_node.telemetry.backlog import MOST_REPORT_BYTES, WaitingReport, thinned, too_much
from littoral_node.telemetry.counting import TelemetryWindows
from littoral_node.telemetry.spool import Spool
from littoral_node.telemetry.wire import report_to

OUTSTANDING = 32
"""Reports that may be sent before the first of them is acknowledged: a fleet that comes back must not send all at once."""
SPOOL_EVERY_S = 60.0

_FIRST_INTERVAL_S = 10.0


class TelemetryOutbox:
    """Args:
    send: gives a message to the open session; False where none is open.
    connected: whether a session is open.
    spool: its reports of earlier processes wait too.
    """

    def __init__(
        self,
        telemetry: TelemetryWindows,
        boot_id: str,
        send: Callable[[session_pb2.ConnectRequest], bool],
        connected: Callable[[], bool],
        spool: Spool,
        log: Callable[..., None],
        damaged: Damaged = ignore_damage,
    ) -> None:
        self._telemetry = telemetry
        self._boot_id = boot_id
        self._send_message = send
        self._connected = connected
        self._spool = spool
        self._log = log
        self._sequence = 0
        self._waiting, lost = spool.read()  # those that were ever sent stand first
        self._spooled = len(self._waiting)
        self._sent: int | None = None  # None: no session
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
        """The first messages of a new session; an acknowledgement sends the next ones."""
        if any(not entry.sent for entry in self._waiting[: self._spooled]):
            self._on_disk(self._spool.mark_sent)  # before they are sent: from then on the cloud may have counted them
            self._waiting[: self._spooled] = [replace(entry, sent=True) for entry in self._waiting[: self._spooled]]
        self._sent, self._spooled_at = 0, None
        return [session_pb2.ConnectRequest(telemetry=self._next()) for _ in self._waiting[:OUTSTANDING]]

    def acknowledge(self, sequence: int, boot_id: str = "") -> None:
        """The cloud has every report of a boot up to a sequence. `boot_id` "": the boot of the oldest report that was sent."""
        if not self._sent:
            return
        boot = boot_id or self._waiting[0].boot_id
        safe = {i for i, entry in enumerate(self._waiting[: self._sent]) if entry.boot_id == boot and entry.sequence <= sequence}
        self._waiting = [entry for i, entry in enumerate(self._waiting) if i not in safe]
        self._sent -= len(safe)
        if self._spooled:
            self._spooled -= sum(i < self._spooled for i in safe)
            if not self._spooled:
                self._on_disk(self._spool.clear)
        self._send()

    def flush(self, now: float) -> None:
        """Cuts a window at `now` (seconds since 1970-01-01 UTC) and sends its reports."""
        for report in self._telemetry.reports(now):
            self._sequence += 1
            message = report_to(report, self._boot_id, self._sequence)
            if (size := message.ByteSize()) > MOST_REPORT_BYTES:  # too many classes, or too wide a sketch
                self._log("telemetry-dropped", model=report.model, detail=f"{size} bytes, at most {MOST_REPORT_BYTES} are sent")
                continue
            self._waiting.append(WaitingReport.of(message))
        if not self._connected():
            self._sent = None
        self._send()
        if too_much(self._waiting):
            self._thin()
        if self._sent is None and (self._spooled_at is None or not 0 <= now - self._spooled_at < SPOOL_EVERY_S):
            self._spooled_at = now
            self._spool_rest()

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
        """Cuts the last window; what is not acknowledged goes to the disk."""
        self.flush(now)
        self._spool_rest()

    def _send(self) -> None:
        while self._sent is not None and self._sent < min(OUTSTANDING, len(self._waiting)):
            if not self._send_message(session_pb2.ConnectRequest(telemetry=self._next())):
                self._sent = None

    def _next(self) -> session_pb2.TelemetryReport:
        """The next report that this session has not sent."""
        assert self._sent is not None
        entry = self._waiting[self._sent]
        self._waiting[self._sent] = replace(entry, sent=True)
        self._sent += 1
        return entry.report()

    def _thin(self) -> None:
        before = len(self._waiting)
        self._waiting, gone = thinned(self._waiting)
        self._log("telemetry-added-up", reports=before, now=len(self._waiting))
        if gone:
            self._log("telemetry-dropped", reports=len(gone), requests=sum(entry.report().requests for entry in gone))
        if self._sent is not None:
            self._sent = max(0, self._sent - len(gone))
        self._rewrite()

    def _rewrite(self) -> None:
        self._spooled = len(self._waiting) if self._on_disk(lambda: self._spool.replace(self._waiting)) else 0
        if not self._spooled:
            self._on_disk(self._spool.clear)  # no file is better than a wrong one

    def _spool_rest(self) -> None:
        """Appends what is not on the disk yet."""
        fresh = self._waiting[self._spooled :]
        if fresh and self._on_disk(lambda: self._spool.append(fresh)):
            self._spooled = len(self._waiting)

    def _on_disk(self, act: Callable[[], None]) -> bool:
        """A full disk must not end the telemetry: the reports stay in memory, and the log names the error."""
        try:
            act()
        except OSError as error:
            self._log("telemetry-not-spooled", detail=f"{error.strerror}: lost if the agent ends before the cloud is back")
            return False
        return True
