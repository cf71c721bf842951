"""What needs somebody: of rollouts and runs, by how they stand. Pure.

Rules, in order:

1. A rollout that waits for an approval waits for a person: it comes first. It is not shown to the one who started it.
2. What a person aborted or stopped needs no look.
3. What failed needs somebody until a later one of its model succeeded, or for seven days.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from littoral_cloud.federation.run import STOPPED, Run, RunState
from littoral_cloud.rollouts.state import ENDED, Rollout, RolloutState

LATELY_S = 7 * 86_400.0
"""What failed longer ago needs no look any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that somebody should look at. `severity`: "bad", "warn" or "wait". `of`, `id`: what it is about: a kind of thing
    ("node", "rollout", "run", "drift", "token", "coordinator"), and its id; "": several, or none."""

    severity: str
    words: str
    of: str
    id: str = ""
    state: str = ""  # of nodes, for a list of them


def approvals(rollouts: Iterable[tuple[str, Rollout]], me: str) -> Iterator[Need]:
    """Rollouts that wait for the approval of somebody, who may be `me`."""
    for id, rollout in rollouts:
        if _wants_approval(rollout) and rollout.started_by != me:
            yield _need(id, "wait", f"waits for the approval of somebody other than {rollout.started_by or 'who started it'}")


def needs_of_rollouts(rollouts: Iterable[tuple[str, Rollout]], now: float) -> Iterator[Need]:
    """Of all rollouts, approvals aside; newest failures first. `now`: seconds since 1970-01-01 UTC."""
    known = sorted(rollouts, key=lambda each: -each[1].created_at)
    good: dict[str, float] = {}
    for _, rollout in known:
        if rollout.state is RolloutState.SUCCEEDED:
            good[rollout.model] = max(good.get(rollout.model, 0.0), rollout.ended_at or 0.0)
    for id, rollout in known:
        ended = rollout.ended_at or 0.0
        if rollout.state in (RolloutState.ROLLED_BACK, RolloutState.FAILED):
            if not rollout.aborted_by and now - ended < LATELY_S and ended >= good.get(rollout.model, 0.0):
                yield _need(
                    id, "bad", f"{rollout.state.value.lower().replace('_', ' ')}: {rollout.reason or 'its page says why'}"
                )
        elif _wants_approval(rollout) or rollout.state in ENDED:
            continue
        elif rollout.paused_by:
            yield _need(id, "wait", f"{rollout.paused_by} has paused it")
        elif rollout.state is RolloutState.PENDING and rollout.reason:
            yield _need(id, "wait", f"waits: {rollout.reason}")


def needs_of_runs(runs: Iterable[Run], now: float) -> Iterator[Need]:
    """Of all runs. `now`: seconds since 1970-01-01 UTC."""
    known = sorted(runs, key=lambda each: -each.created_at)
    good: dict[str, float] = {}
    for run in known:
        if run.state is RunState.SUCCEEDED:
            good[run.model] = max(good.get(run.model, 0.0), run.finished_at)
    for run in known:
        failed = run.state is RunState.FAILED and run.reason != STOPPED
        if failed and now - run.finished_at < LATELY_S and run.finished_at >= good.get(run.model, 0.0):
            words = f"run {run.run_id}: failed: {run.reason}: {run.detail[:200]}"
            yield Need(severity="bad", words=words, of="run", id=run.run_id)


def _wants_approval(rollout: Rollout) -> bool:
    return rollout.state is RolloutState.PENDING and rollout.policy.approval and not rollout.approved_by


def _need(id: str, severity: str, words: str) -> Need:
    return Need(severity=severity, words=f"rollout {id}: {words}", of="rollout", id=id)
