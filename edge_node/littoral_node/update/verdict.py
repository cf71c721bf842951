"""When a probation fails, from what was found so far. Pure; littoral_node.update.watch finds it.

Rules, in order:

1. It is the model that is judged, not its clients: failures count beyond the share that failed on this node before, and a refused
   request counts where the model before would have answered it.
2. A share over the limit fails a model only where chance does not explain it: at the limit, a count as large would come with a
   probability of at most CHANCE. One node sees few requests; a fleet of thousands has thousands of such nodes.

Example: 0.3 % of the requests failed before, and 1 % more may. 2 failed ones of 109 pass, 9 of 109 fail, and so do 2 of 2.
"""

from __future__ import annotations

import math

from littoral_node.update.events import Findings
from littoral_node.update.state import ProbationPolicy

EARLY_FAILURES = 5
"""Failed requests that end a probation early, where they are over the allowed share."""
CHANCE = 0.001
"""That a model which is just inside the limit fails for its requests, on one node."""


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
        return count > share * of and (final or count >= EARLY_FAILURES) and _by_chance(count, of, share) <= CHANCE

    if many(findings.failed_requests, findings.requests, usual + policy.max_failure_rate):
        failed = f"{findings.failed_requests} of {findings.requests} requests failed, before {usual:.2%} did"
        return "failure-rate", f"{failed}, allowed are {policy.max_failure_rate:.2%} more"
    came = findings.requests + findings.turned_away
    if many(findings.turned_away, came, policy.max_failure_rate):
        refused = f"{findings.turned_away} of {came} requests are refused that the model before answers"
        return "refuses-requests", f"{refused}, allowed are {policy.max_failure_rate:.2%}"
    return None


def _by_chance(count: int, of: int, share: float) -> float:
    """A bound of the probability that at least `count` of `of` requests fail, where each fails with probability `share`, and
    `count` is over it (W. Hoeffding: Probability Inequalities for Sums of Bounded Random Variables, JASA 58, 1963, theorem 1)."""
    found = count / of
    if share <= 0:
        return 0.0
    distance = found * math.log(found / share)
    if found < 1:
        distance += (1 - found) * math.log((1 - found) / (1 - share))
    return math.exp(-of * distance)
