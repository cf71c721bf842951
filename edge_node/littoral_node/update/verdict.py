"""When a probation fails, from what was found so far. Pure; littoral_node.update.watch finds it.

It is the model that is judged, not its clients: failures count beyond the share that failed on this node before, and a refused
request counts where the model before would have answered it.

Each of the three rules may be wrong by chance, on this node, with at most a third of the policy's `error`. One bad end stops a
rollout: the cloud gives each node its part of the chance that it accepts for the whole rollout (littoral_node.update.chance).
"""

from __future__ import annotations

from dataclasses import dataclass

from littoral_node.update.chance import surely_fewer, surely_more, surely_more_early
from littoral_node.update.events import Findings
from littoral_node.update.state import ERROR, ProbationPolicy

EARLY_FAILURES = 5
"""The fewest failed requests that end a probation before its time."""
RULES = 3


@dataclass(frozen=True, slots=True)
class Before:
    """What this node knows of the model before: requests, and the failed ones among them."""

    requests: int = 0
    failed: int = 0


def worse_on_examples(findings: Findings, policy: ProbationPolicy) -> tuple[str, str] | None:
    """Code and message where the accuracy on this node's own examples fell by more than is allowed, and not by chance; None: it
    did not, or there is nothing to compare."""
    if findings.accuracy is None or findings.previous_accuracy is None:
        return None
    drop = findings.previous_accuracy - findings.accuracy
    right, right_before = (round(share * findings.examples) for share in (findings.accuracy, findings.previous_accuracy))
    if drop <= policy.max_accuracy_drop or not surely_fewer(right, findings.examples, right_before, _error_of_a_rule(policy)):
        return None
    detail = (
        f"accuracy {findings.accuracy:.4f}, before {findings.previous_accuracy:.4f}, on {findings.examples} examples of this "
        f"node: a fall of {drop:.4f}, allowed is {policy.max_accuracy_drop:g}"
    )
    return "accuracy-drop", detail


def too_often(findings: Findings, policy: ProbationPolicy, before: Before, *, final: bool) -> tuple[str, str] | None:
    """Code and message where surely more requests fail than are allowed beyond the share that failed on this node before, or more
    are refused that the model before answers; None: neither.

    Args:
        final: the probation is over; before, only EARLY_FAILURES and more end it.
    """
    half = _error_of_a_rule(policy) / 2  # one for the end, one for all looks before

    def many(count: int, of: int, count_before: int) -> bool:
        counts = (count, of, count_before, before.requests, policy.max_failure_rate)
        return surely_more(*counts, half) if final else surely_more_early(*counts, half, first=EARLY_FAILURES)

    if many(findings.failed_requests, findings.requests, before.failed):
        usual = before.failed / before.requests if before.requests else 0.0
        failed = f"{findings.failed_requests} of {findings.requests} requests failed, before {usual:.2%} did"
        return "failure-rate", f"{failed}, allowed are {policy.max_failure_rate:.2%} more"
    came = findings.requests + findings.turned_away
    if many(findings.turned_away, came, 0):
        refused = f"{findings.turned_away} of {came} requests are refused that the model before answers"
        return "refuses-requests", f"{refused}, allowed are {policy.max_failure_rate:.2%}"
    return None


def _error_of_a_rule(policy: ProbationPolicy) -> float:
    return (policy.error or ERROR) / RULES
