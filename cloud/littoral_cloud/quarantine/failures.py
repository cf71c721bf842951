"""What counts as a failure of a node. Pure.

Rules, in order:

1. The update of one model that the node reports as FAILED or ROLLED_BACK counts, under the rollout that asked for it.
2. What probation found worse than the model before says something of the release, not of the node: it does not count.
3. A node that was silent for too long in a wave, and on the way back too, counts under that rollout.
4. A reply in a federated round that cannot be used counts, under the run and the round. Silence does not: nodes come and go.
"""

from __future__ import annotations

from collections.abc import Iterator

from littoral_cloud.federation.faults import BAD
from littoral_cloud.federation.run import Run
from littoral_cloud.fleet.quarantine import NodeFailure
from littoral_cloud.fleet.records import Desired, Reported, UpdateState
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState
from littoral_cloud.rollouts.judge import SILENT

VERDICTS = frozenset({"accuracy-drop", "failure-rate", "refuses-requests"})
"""Reasons by which a node's probation judges the model: docs/reference/errors.md."""
LAST_ROUNDS = 5
"""Of a run, that are looked at: a controller that is behind sees several end at once."""


def failed_updates(desired: Desired, reported: Reported, now: float) -> Iterator[NodeFailure]:
    """Of one node, by its last report."""
    for name, model in reported.models.items():
        if model.state not in (UpdateState.FAILED, UpdateState.ROLLED_BACK) or model.reason in VERDICTS:
            continue
        wanted = desired.models.get(name)
        if wanted is not None and wanted.generation == model.desired_generation:  # else its rollout is not known any more
            yield NodeFailure(of=wanted.rollout_id, at=now, reason=f"{name}: {model.state}: {model.reason or 'no reason given'}")


def failed_to_answer(a: Assignment, now: float) -> Iterator[NodeFailure]:
    """What one node got in one rollout."""
    if a.state is AssignmentState.FAILED and a.why == SILENT:
        yield NodeFailure(of=a.rollout_id, at=now, reason="was silent for too long")


def failed_replies(run: Run, now: float) -> Iterator[tuple[str, NodeFailure]]:
    """Node ids, and what failed, in the last rounds of a run."""
    for finished in run.finished[-LAST_ROUNDS:]:
        for node_id, code in finished.failed.items():
            if code in BAD:
                yield node_id, NodeFailure(of=f"{run.run_id} round {finished.number}", at=now, reason=f"{run.model}: {code}")
