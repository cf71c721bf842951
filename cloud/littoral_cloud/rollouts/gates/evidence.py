"""What the nodes of a rollout have shown so far, added up: plain numbers that every gate reads.

No node counts for more than MOST_OF_NODE values of a kind: what one reports beyond is scaled down to that. So a node that claims
a billion good answers cannot carry a bad release through a wave of many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    failed: int = 0  # nodes whose probation, or what came before it, ended badly
    failure: str = ""  # how the first of them did, in words
    requests: ShareCount = ShareCount()  # of the candidate; hits: failed ones
    requests_before: ShareCount = ShareCount()  # of the model before, on the same nodes
    latency: tuple[float, ...] = ()  # of the candidate in the agent's own process, over LATENCY_BOUNDS_MS; () or BINS counts
    latency_before: tuple[float, ...] = ()
    labelled: Paired = Paired()
    classes: tuple[Paired, ...] = ()  # by class of the label
    compared: ShareCount = ShareCount()  # live requests that both models answered while the candidate served; hits: alike
    shadowed: ShareCount = ShareCount()  # the same, while the model before served
    shadow_failed: float = 0.0  # of those, the ones that the candidate alone could not answer


class EvidencePool:
    """What each node of a rollout has shown, added up as it changes: a change costs the same in a fleet of any size."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeEvidence] = {}
        self._sums: dict[str, list[float]] = {}
        self.version = 0  # grows with each change

    def put(self, node_id: str, given: NodeEvidence | None) -> None:
        """Takes the place of what the node gave before. None: it has given nothing, or its candidate stands no more."""
        if (before := self._nodes.get(node_id)) == given:
            return
        self.version += 1
        if before is not None:
            self._add(self._nodes.pop(node_id), -1.0)
        if given is not None:
            self._nodes[node_id] = given
            self._add(given, 1.0)

    def evidence(self, passed: int = 0, awaited: int = 0, failed: int = 0, failure: str = "") -> Evidence:
        """Arguments as of Evidence."""

        def pair(name: str) -> ShareCount:
            count, hits, *_ = self._sums.get(name, (0.0, 0.0))
            return ShareCount(count=count, hits=hits)

        def paired(name: str) -> Paired:
            count, worse, better = self._sums.get(name, (0.0, 0.0, 0.0))
            return Paired(count=count, worse=worse, better=better)

        classes = sum(name.startswith("class ") for name in self._sums)
        return Evidence(
            passed=passed,
            awaited=awaited,
            failed=failed,
            failure=failure,
            requests=pair("requests"),
            requests_before=pair("before"),
            latency=tuple(self._sums.get("latency", ())),
            latency_before=tuple(self._sums.get("latency before", ())),
            labelled=paired("labelled"),
            classes=tuple(paired(f"class {label}") for label in range(classes)),
            compared=pair("compared"),
            shadowed=pair("shadowed"),
            shadow_failed=self._sums.get("shadowed", (0.0, 0.0, 0.0))[2],
        )

    def without(self, node_id: str, whole: Evidence) -> Evidence:
        """As `whole`, which `evidence` gave, without what one node gave."""
        self._add(self._nodes[node_id], -1.0)
        rest = self.evidence(whole.passed, whole.awaited, whole.failed, whole.failure)
        self._add(self._nodes[node_id], 1.0)
        return rest

    @property
    def nodes(self) -> Mapping[str, NodeEvidence]:
        """By id; what each has given."""
        return self._nodes

    def _add(self, node: NodeEvidence, sign: float) -> None:
        def add(name: str, counts: Sequence[int], of_node: int) -> None:
            if of_node > 0:
                scale = sign * min(1.0, MOST_OF_NODE / of_node)
                sums = self._sums.get(name, ())
                self._sums[name] = [a + b * scale for a, b in zip_longest(sums, counts, fillvalue=0)]

        add("requests", (node.requests, node.failed), node.requests)
        add("before", (node.requests_before, node.failed_before), node.requests_before)
        add("latency", node.latency.spread(), sum(node.latency.counts))
        add("latency before", node.latency_before.spread(), sum(node.latency_before.counts))
        add("labelled", (node.examples, node.worse, node.better), node.examples)
        add("compared", (node.compared, node.agreed), node.compared)
        add("shadowed", (node.shadowed, node.shadow_agreed, node.shadow_failed), node.shadowed)
        rows = zip(node.class_examples, node.class_worse, node.class_better, strict=True)
        for label, row in enumerate(rows):
            add(f"class {label}", row, node.examples)
