"""What one node has shown of a candidate since it got it: a part of its report, counts alone. Gates add them up."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest

from littoral.errors import BadInput
from littoral.telemetry import LATENCY_BOUNDS_MS

MAX_EVIDENCE_CLASSES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbationResult:
    accuracy: float | None = None
    previous_accuracy: float | None = None
    examples: int = 0
    requests: int = 0
    failed_requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyBins:
    """A histogram over LATENCY_BOUNDS_MS without its empty ends: `counts` begin at bin `first`."""

    first: int = 0
    counts: tuple[int, ...] = ()

    def spread(self) -> tuple[int, ...]:
        """All bins; () where nothing was counted."""
        if not self.counts:
            return ()
        rest = len(LATENCY_BOUNDS_MS) + 1 - self.first - len(self.counts)
        return (*(0,) * self.first, *self.counts, *(0,) * rest)

    def __add__(self, other: LatencyBins) -> LatencyBins:
        if not self.counts or not other.counts:
            return other if other.counts else self
        first = min(self.first, other.first)
        both = zip_longest((0,) * (self.first - first) + self.counts, (0,) * (other.first - first) + other.counts, fillvalue=0)
        return LatencyBins(first=first, counts=tuple(a + b for a, b in both))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvidence:
    """Counts of one model on one node. An agent begins anew with them; `after` adds up what several of its starts have shown."""

    requests: int = 0  # that the candidate got from clients
    failed: int = 0
    requests_before: int = 0  # of the model before
    failed_before: int = 0
    latency: LatencyBins = field(default_factory=LatencyBins)  # of the candidate, since it runs in the agent's own process
    latency_before: LatencyBins = field(default_factory=LatencyBins)
    examples: int = 0  # labelled ones that both models were tried on
    worse: int = 0  # of those, the ones that only the candidate got wrong
    better: int = 0  # and that only the model before got wrong
    class_examples: tuple[int, ...] = ()  # the same three by class of the label
    class_worse: tuple[int, ...] = ()
    class_better: tuple[int, ...] = ()
    compared: int = 0  # live requests that the model before was asked as well, while the candidate served
    agreed: int = 0
    shadowed: int = 0  # live requests that the candidate was asked as well, while the model before served
    shadow_agreed: int = 0
    shadow_failed: int = 0  # of those, the ones that it could not answer

    def after(self, earlier: NodeEvidence) -> NodeEvidence:
        """Both together, where an agent started again in between. The labelled examples are the same ones: the later trial
        counts, or, where there was none, the earlier one."""
        labelled = self if self.examples else earlier
        return NodeEvidence(
            requests=self.requests + earlier.requests,
            failed=self.failed + earlier.failed,
            requests_before=self.requests_before + earlier.requests_before,
            failed_before=self.failed_before + earlier.failed_before,
            latency=self.latency + earlier.latency,
            latency_before=self.latency_before + earlier.latency_before,
            examples=labelled.examples,
            worse=labelled.worse,
            better=labelled.better,
            class_examples=labelled.class_examples,
            class_worse=labelled.class_worse,
            class_better=labelled.class_better,
            compared=self.compared + earlier.compared,
            agreed=self.agreed + earlier.agreed,
            shadowed=self.shadowed + earlier.shadowed,
            shadow_agreed=self.shadow_agreed + earlier.shadow_agreed,
            shadow_failed=self.shadow_failed + earlier.shadow_failed,
        )

    def check(self, where: str) -> None:
        """Raises BadInput, naming the field, where counts cannot be."""
        parts = (
            ("failed", self.failed, self.requests),
            ("failed_before", self.failed_before, self.requests_before),
            ("worse", self.worse + self.better, self.examples),
            ("agreed", self.agreed, self.compared),
            ("shadow_agreed", self.shadow_agreed + self.shadow_failed, self.shadowed),
        )
        for name, part, whole in parts:
            if part > whole:
                raise BadInput(f"{where}.{name}: {part} of {whole}")
        for name, bins in (("latency", self.latency), ("latency_before", self.latency_before)):
            if bins.first + len(bins.counts) > len(LATENCY_BOUNDS_MS) + 1:
                raise BadInput(
                    f"{where}.{name}: {len(bins.counts)} counts from {bins.first}, of {len(LATENCY_BOUNDS_MS) + 1} bins"
                )
        classes = self.class_examples
        if len(classes) > MAX_EVIDENCE_CLASSES:
            raise BadInput(f"{where}.class_examples: {len(classes)} classes, at most {MAX_EVIDENCE_CLASSES}")
        if {len(self.class_worse), len(self.class_better)} != {len(classes)}:
            raise BadInput(f"{where}.class_worse: {len(self.class_worse)} counts of {len(classes)} classes")
        for label, (examples, worse, better) in enumerate(zip(classes, self.class_worse, self.class_better, strict=True)):
            if worse + better > examples:
                raise BadInput(f"{where}.class_worse: {worse + better} of {examples}, class {label}")
