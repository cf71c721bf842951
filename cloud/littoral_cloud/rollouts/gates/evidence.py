"""What the nodes of a rollout have shown so far, added up: plain numbers that every gate reads.

No node counts for more than MOST_OF_NODE values of a kind: what one reports beyond is scaled down to that. So a node that claims
a billion good answers cannot carry a bad release through a wave of many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral_cloud.fleet.evidence import NodeEvidence

MOST_OF_NODE = 10_000
BINS = len(LATENCY_BOUNDS_MS) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareCount:
    """`hits` of `count` values. Both may be fractions, where a node was scaled down."""

    count: float = 0.0
    hits: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Both models on the same labelled examples: how often only the candidate was wrong, and only the one before."""

    count: float = 0.0
    worse: float = 0.0
    better: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Of one rollout, over all nodes whose candidate stands. What no node has given is empty."""

    passed: int = 0  # nodes whose probation ended well
    awaited: int = 0  # nodes that have not answered
    failed: tuple[str, ...] = ()  # how nodes failed, in words
    requests: ShareCount = ShareCount()  # of the candidate; hits: failed ones
    requests_before: ShareCount = ShareCount()  # of the model before, on the same nodes
    latency: tuple[float, ...] = ()  # of the candidate in the agent's own process, over LATENCY_BOUNDS_MS; () or BINS counts
    latency_before: tuple[float, ...] = ()
    labelled: Paired = Paired()
    classes: tuple[Paired, ...] = ()  # by class of the label
    compared: ShareCount = ShareCount()  # live requests that both models answered while the candidate served; hits: alike
    shadowed: ShareCount = ShareCount()  # the same, while the model before served
    shadow_failed: float = 0.0  # of those, the ones that the candidate alone could not answer

    def plus_nodes(self, nodes: Iterable[NodeEvidence]) -> Evidence:
        """With what these nodes gave."""
        adding = _Sums()
        for node in nodes:
            adding.add(node)
        return adding.evidence(self)


class _Sums:
    def __init__(self) -> None:
        self.requests = [0.0, 0.0]
        self.before = [0.0, 0.0]
        self.latency: list[float] = []
        self.latency_before: list[float] = []
        self.labelled = [0.0, 0.0, 0.0]
        self.classes: list[list[float]] = []
        self.compared = [0.0, 0.0]
        self.shadowed = [0.0, 0.0, 0.0]

    def add(self, node: NodeEvidence) -> None:
        _into(self.requests, (node.requests, node.failed), node.requests)
        _into(self.before, (node.requests_before, node.failed_before), node.requests_before)
        _into(self.latency, node.latency.spread(), sum(node.latency.counts))
        _into(self.latency_before, node.latency_before.spread(), sum(node.latency_before.counts))
        _into(self.labelled, (node.examples, node.worse, node.better), node.examples)
        _into(self.compared, (node.compared, node.agreed), node.compared)
        _into(self.shadowed, (node.shadowed, node.shadow_agreed, node.shadow_failed), node.shadowed)
        rows = zip(node.class_examples, node.class_worse, node.class_better, strict=True)
        for place, row in enumerate(rows):
            if place == len(self.classes):
                self.classes.append([0.0, 0.0, 0.0])
            _into(self.classes[place], row, node.examples)

    def evidence(self, of: Evidence) -> Evidence:
        return Evidence(
            passed=of.passed,
            awaited=of.awaited,
            failed=of.failed,
            requests=ShareCount(count=self.requests[0], hits=self.requests[1]),
            requests_before=ShareCount(count=self.before[0], hits=self.before[1]),
            latency=tuple(self.latency),
            latency_before=tuple(self.latency_before),
            labelled=_paired(self.labelled),
            classes=tuple(_paired(row) for row in self.classes),
            compared=ShareCount(count=self.compared[0], hits=self.compared[1]),
            shadowed=ShareCount(count=self.shadowed[0], hits=self.shadowed[1]),
            shadow_failed=self.shadowed[2],
        )


def _paired(row: Sequence[float]) -> Paired:
    return Paired(count=row[0], worse=row[1], better=row[2])


def _into(sums: list[float], counts: Sequence[int], all_of_node: int) -> None:
    if all_of_node <= 0:
        return
    scale = min(1.0, MOST_OF_NODE / all_of_node)
    sums[:] = [a + b * scale for a, b in zip_longest(sums, counts, fillvalue=0)]
