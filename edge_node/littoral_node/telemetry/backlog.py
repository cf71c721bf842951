"""Reports that wait for a cloud that is away: in order, and bounded, because the oldest are added up. Pure functions on frozen
values.

A report that was sent and not acknowledged may be counted: it is never added to another one, only sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from littoral.fleet.v1 import session_pb2
from littoral.transport import MAX_MESSAGE_BYTES

MOST_REPORTS = 1_000
MOST_BYTES = 1_000_000
MOST_REPORT_BYTES = MAX_MESSAGE_BYTES - 64
"""What a session takes, less the bytes around a report."""
_MOST_COUNT = 2**32 - 1  # of a uint32


@dataclass(frozen=True, slots=True)
class WaitingReport:
    """One report, as it travels: many of them are small this way."""

    data: bytes  # a TelemetryReport
    boot_id: str
    sequence: int
    sent: bool = False  # in some session: the cloud may have it

    @classmethod
    def of(cls, report: session_pb2.TelemetryReport) -> WaitingReport:
        return cls(report.SerializeToString(), report.boot_id, report.sequence)

    def report(self) -> session_pb2.TelemetryReport:
        return session_pb2.TelemetryReport.FromString(self.data)


def too_much(waiting: Sequence[WaitingReport], share: float = 1.0) -> bool:
    """More than this share of either bound."""
    return len(waiting) > share * MOST_REPORTS or sum(len(entry.data) for entry in waiting) > share * MOST_BYTES


def thinned(waiting: Sequence[WaitingReport]) -> tuple[list[WaitingReport], list[WaitingReport]]:
    """(what still waits, what had to go): at most three quarters of the bounds.

    The oldest half is added up two by two, window to window; what cannot be added and is still too much goes, the oldest first.
    """
    left = list(waiting)
    while too_much(left, 0.75):
        half = _paired(left[: len(left) // 2 + 1])
        after = [*half, *left[len(left) // 2 + 1 :]]
        if len(after) == len(left):
            break
        left = after
    gone = []
    while too_much(left, 0.75):
        gone.append(left.pop(0))
    return left, gone


def _paired(oldest: Sequence[WaitingReport]) -> list[WaitingReport]:
    """Each report added to the next one of its kind, where there is one that is not taken; in the order of the later ones."""
    open_at: dict[tuple[str, str, str, str], int] = {}
    out: list[WaitingReport | None] = []
    for entry in oldest:
        report = entry.report()
        kind = (report.boot_id, report.model_name, report.manifest_digest, report.inputs.sketch_id)
        earlier = open_at.pop(kind, None)
        if entry.sent:
            pass  # and what came before it must not be moved behind it
        elif earlier is None:
            open_at[kind] = len(out)
        else:
            found = out[earlier]
            assert found is not None
            both = WaitingReport.of(added(found.report(), report))
            if len(both.data) <= MOST_REPORT_BYTES:
                out[earlier], entry = None, both
        out.append(entry)
    return [entry for entry in out if entry is not None]


def added(first: session_pb2.TelemetryReport, second: session_pb2.TelemetryReport) -> session_pb2.TelemetryReport:
    """One report of both windows, under the sequence of the second: of one boot, model, manifest and sketch."""
    both = session_pb2.TelemetryReport()
    both.CopyFrom(second)
    both.window_start_unix_ms = min(first.window_start_unix_ms, second.window_start_unix_ms)
    both.requests += first.requests
    both.failed_requests += first.failed_requests
    both.offload_asked += first.offload_asked
    both.offload_answered += first.offload_answered
    both.latency_counts[:] = _sum(first.latency_counts, second.latency_counts)
    both.class_counts[:] = _sum(first.class_counts, second.class_counts)
    if first.HasField("inputs") and second.HasField("inputs"):
        both.inputs.examples = min(first.inputs.examples + second.inputs.examples, _MOST_COUNT)
        both.inputs.counts[:] = _sum(first.inputs.counts, second.inputs.counts)
    return both


def _sum(first: Sequence[int], second: Sequence[int]) -> list[int]:
    longest = max(len(first), len(second))
    padded = ([*counts, *[0] * (longest - len(counts))] for counts in (first, second))
    return [min(a + b, _MOST_COUNT) for a, b in zip(*padded, strict=True)]
