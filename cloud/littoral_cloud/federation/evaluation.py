"""Whether what a run learnt is better than its base, by examples that were not trained on.

A run often starts because the nodes' inputs changed: then its result may be worse on the cloud's own test split, and the nodes'
held-out examples decide. Where they are equal or missing, the cloud's test split decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from littoral.errors import FleetError
from littoral_cloud.federation.run import Run

BEFORE = "accuracy_before"
"""A node judges each round's model on its held-out examples before it trains: so the last round's result is never among these."""


class WorseThanBase(FleetError):
    """What a run learnt answers held-out examples worse than its base."""

    code = "worse-than-base"
    exit_code = 6


@dataclass(frozen=True, slots=True)
class Judgement:
    """`remark`: for people, "" where there is none; `worse`: it is released only where an operator insists."""

    remark: str = ""
    worse: bool = False


def by_nodes(run: Run) -> tuple[float, float] | None:
    """Accuracy on the nodes' held-out examples of the base and of the newest model that nodes judged; None where they did not.

    The two are means over nodes: they are compared where most of those that judged the one judged the other.
    """
    if len(run.finished) < 2 or BEFORE not in run.finished[0].metrics:
        return None
    first = run.finished[0]
    for later in reversed(run.finished[1:]):
        both, either = {*first.participants} & {*later.participants}, {*first.participants} | {*later.participants}
        if BEFORE in later.metrics and 2 * len(both) > len(either):
            return first.metrics[BEFORE], later.metrics[BEFORE]
    return None


def judgement(run: Run, base: float, result: float) -> Judgement:
    """`base`, `result`: accuracy on the cloud's own test split, of the weights that the run began and ended with."""
    nodes = by_nodes(run)
    cloud = f"{result:.4f} of the test split are right, of the base's answers {base:.4f}"
    if nodes is not None and nodes[1] != nodes[0]:
        seen = f"on the nodes' held-out examples accuracy went from {nodes[0]:.4f} to {nodes[1]:.4f}"
        if nodes[1] < nodes[0]:
            return Judgement(f"worse than its base: {seen}", worse=True)
        return Judgement(f"{cloud}; {seen}") if result < base else Judgement()
    return Judgement(f"worse than its base: {cloud}", worse=True) if result < base else Judgement()
