"""What a node says that it has seen of a candidate: from the wire's message to the record that gates read."""

from __future__ import annotations

from littoral.fleet.v1 import session_pb2
from littoral_cloud.fleet.evidence import LatencyBins, NodeEvidence

_WHERE = "reported.models.evidence"


_NONE = NodeEvidence()


def evidence_from(word: session_pb2.TrialEvidence) -> NodeEvidence | None:
    """None where nothing was counted. Raises BadInput, naming the field."""
    found = NodeEvidence(
        requests=word.requests,
        failed=word.failed_requests,
        requests_before=word.requests_before,
        failed_before=word.failed_before,
        latency=LatencyBins(first=word.latency.first, counts=tuple(word.latency.counts)),
        latency_before=LatencyBins(first=word.latency_before.first, counts=tuple(word.latency_before.counts)),
        examples=word.examples,
        worse=word.worse,
        better=word.better,
        class_examples=tuple(word.class_examples),
        class_worse=tuple(word.class_worse),
        class_better=tuple(word.class_better),
        compared=word.compared,
        agreed=word.agreed,
        shadowed=word.shadowed,
        shadow_agreed=word.shadow_agreed,
        shadow_failed=word.shadow_failed,
    )
    found.check(_WHERE)
    return None if found == _NONE else found
