"""When a probation fails, from what was found so far. Pure; littoral_node.update.watch finds it.

It is the model that is judged, not its clients: failures count beyond the share that failed on this node before, and a refused
request counts where the model before would have answered it.
"""

from __future__ import annotations

from littoral_node.update.events import Findings
from littoral_node.update.state import ProbationPolicy

EARLY_FAILURES = 5
"""Failed requests that end a probation early, where they are over the allowed share."""


def worse_on_examples(findings: Findings, policy: ProbationPolicy) -> tuple[str, str] | None:
    """Code and message where the accuracy on this node's own examples fell by more than is allowed; None: it did not, or there
    is nothing to compare."""
    drop = _accuracy_drop(findings)
    if drop <= policy.max_accuracy_drop:
        return None
    detail = (
        f"accuracy {findings.accuracy:.4f}, before {findings.previous_accuracy:.4f}, on {findings.examples} examples of this "
        f"node: a fall of {drop:.4f}, allowed is {policy.max_accuracy_drop:g}"
    )
    return "accuracy-drop", detail


def _accuracy_drop(findings: Findings) -> float:
    if findings.accuracy is None or findings.previous_accuracy is None:
        return 0.0
    return findings.previous_accuracy - findings.accuracy


def too_often(findings: Findings, policy: ProbationPolicy, usual: float, *, final: bool) -> tuple[str, str] | None:
    """Code and message where more requests fail than are allowed beyond the share that failed on this node before, or more are
    refused that the model before answers; None: neither.

    Args:
        usual: the share of requests that failed before, 0..1.
        final: the probation is over; before, only EARLY_FAILURES and more end it.
    """

    def many(count: int, of: int, share: float) -> bool:
        return count > share * of and (final or count >= EARLY_FAILURES)

    if many(findings.failed_requests, findings.requests, usual + policy.max_failure_rate):
        failed = f"{findings.failed_requests} of {findings.requests} requests failed, before {usual:.2%} did"
        return "failure-rate", f"{failed}, allowed are {policy.max_failure_rate:.2%} more"
    came = findings.requests + findings.turned_away
    if many(findings.turned_away, came, policy.max_failure_rate):
        refused = f"{findings.turned_away} of {came} requests are refused that the model before answers"
        return "refuses-requests", f"{refused}, allowed are {policy.max_failure_rate:.2%}"
    return None
