"""What this node has seen of a candidate and of the model before it: counts for the gates of the cloud, in memory alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.fleet.v1 import session_pb2
from littoral_node.serving.comparing import ComparedCounts
from littoral_node.telemetry.counting import TelemetryWindows
from littoral_node.update.growing import worth_a_report

MOST_CLASSES = 100
_MOST_COUNT = 2**32 - 1


@dataclass(frozen=True, slots=True)
class LabelledPairs:
    """Both models on the same labelled examples, by class of the label."""

    examples: tuple[int, ...] = ()
    worse: tuple[int, ...] = ()  # only the candidate is wrong
    better: tuple[int, ...] = ()  # only the model before is wrong

    @classmethod
    def of(cls, labels: npt.NDArray[Any], candidate: npt.NDArray[np.bool_], before: npt.NDArray[np.bool_]) -> LabelledPairs:
        """Args:
        labels: (n,) class numbers. candidate, before: (n,) whether each is right.
        """
        classes = int(labels.max()) + 1 if len(labels) else 0

        def by_class(where: npt.NDArray[np.bool_]) -> tuple[int, ...]:
            return tuple(np.bincount(labels[where], minlength=classes).tolist())

        return cls(by_class(np.ones(len(labels), np.bool_)), by_class(~candidate & before), by_class(candidate & ~before))


@dataclass(slots=True)
class Trial:
    """Of one update since the agent's start.

    Attributes:
        isolated: latencies of the candidate while it ran in its isolated process; None: it still does. They do not count: the
            pipe to the process takes longer than many a model.
        answers_since: when the candidate began to answer clients; None: it does not yet. By the clock of the job.
    """

    model: str
    manifest_digest: str
    before: str  # manifest digest; "": nothing was served
    report_s: float  # for how long growing evidence is reported
    isolated: Sequence[int] | None = None
    answers_since: float | None = None
    labelled: LabelledPairs = field(default_factory=LabelledPairs)
    compared: ComparedCounts = field(default_factory=ComparedCounts)
    shadowed: ComparedCounts = field(default_factory=ComparedCounts)
    reported: int = 0  # `size` when it was reported last

    def size(self, counters: TelemetryWindows) -> int:
        return counters.of_artifact(self.model, self.manifest_digest).requests + self.compared.asked + self.shadowed.asked

    def grown(self, counters: TelemetryWindows, now: float) -> bool:
        """Whether it is worth a report."""
        answers_s = None if self.answers_since is None else now - self.answers_since
        return worth_a_report(self.size(counters), self.reported, answers_s, self.report_s)

    def adopted(self, counters: TelemetryWindows) -> None:
        """From now on the candidate runs in the agent's own process."""
        self.isolated = tuple(counters.of_artifact(self.model, self.manifest_digest).latency)

    def message(self, counters: TelemetryWindows) -> session_pb2.TrialEvidence:
        self.reported = self.size(counters)
        now = counters.of_artifact(self.model, self.manifest_digest)
        before = counters.of_artifact(self.model, self.before)
        pairs, compared, shadowed = self.labelled, self.compared, self.shadowed
        own = [a - b for a, b in zip(now.latency, self.isolated, strict=True)] if self.isolated is not None else []
        message = session_pb2.TrialEvidence(
            requests=now.requests,
            failed_requests=now.failed,
            requests_before=before.requests,
            failed_before=before.failed,
            latency=_bins(own),
            latency_before=_bins(before.latency),
            examples=sum(pairs.examples),
            worse=sum(pairs.worse),
            better=sum(pairs.better),
            compared=compared.asked,
            agreed=compared.agreed,
            shadowed=shadowed.asked,
            shadow_agreed=shadowed.agreed,
            shadow_failed=shadowed.failed,
        )
        if len(pairs.examples) <= MOST_CLASSES:
            message.class_examples.extend(pairs.examples)
            message.class_worse.extend(pairs.worse)
            message.class_better.extend(pairs.better)
        return message


def _bins(counts: Sequence[int]) -> session_pb2.LatencyBins:
    """Without the empty ends."""
    filled = [place for place, count in enumerate(counts) if count]
    if not filled:
        return session_pb2.LatencyBins()
    return session_pb2.LatencyBins(
        first=filled[0], counts=[min(count, _MOST_COUNT) for count in counts[filled[0] : filled[-1] + 1]]
    )
