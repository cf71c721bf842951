"""Which ended rollouts and runs may leave the ledger. Pure.

Rules for rollouts, each of one model. These stay:

1. what has not ended;
2. of those that passed the newest `keep`, and of the others the newest `keep`;
3. what a node still follows: for each node the newest one that passed and holds what the node is to serve
   (littoral_cloud.rollouts.rechoice), and what the node's desired state names;
4. rollouts of a federated release that the closed loop has not dealt with.

And for runs: what has not ended; the newest `keep`; a run that a release names; one whose weights are an artifact's, for that is
its origin; one that the closed loop has not dealt with; one of which a node has a task.

Example: 1,000 rollouts of a model passed and `keep` is 200. One node is off since the first one. 799 go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from littoral_cloud.federation.run import Run, RunState
from littoral_cloud.fleet.records import Desired, Release
from littoral_cloud.rollouts.state import ENDED, Rollout, RolloutState


@dataclass(frozen=True, slots=True)
class EndedView:
    """All that is decided on, by id. `settled`: runs that the closed loop has dealt with. `weights`: of all artifacts."""

    rollouts: Mapping[str, Rollout]
    runs: Mapping[str, Run]
    releases: Mapping[str, Release]
    desired: Mapping[str, Desired]  # by node id
    settled: Collection[str] = field(default_factory=frozenset)
    weights: Collection[str] = field(default_factory=frozenset)


def rollouts_to_archive(seen: EndedView, keep: int) -> list[str]:
    """Ids, the one that ended first in front."""
    ended = sorted(
        ((rollout.ended_at or 0.0, id) for id, rollout in seen.rollouts.items() if rollout.state in ENDED), reverse=True
    )
    stays = _newest(((_group(seen.rollouts[id]), id) for _, id in ended), keep)
    passed = [id for _, id in ended if seen.rollouts[id].state is RolloutState.SUCCEEDED]
    stays |= _followed(seen, sorted(passed, key=lambda id: (seen.rollouts[id].began, id), reverse=True))
    unsettled = {id for id, run in seen.runs.items() if _unsettled(run, seen)}
    of_loop = {id for id, release in seen.releases.items() if release.run_id in unsettled}
    return [id for _, id in reversed(ended) if id not in stays and seen.rollouts[id].release_id not in of_loop]


def runs_to_archive(seen: EndedView, keep: int) -> list[str]:
    """Ids, the one that ended first in front."""
    ended = sorted(((run.finished_at, id) for id, run in seen.runs.items() if run.state.terminal), reverse=True)
    stays = _newest(((seen.runs[id].model, id) for _, id in ended), keep)
    stays |= {release.run_id for release in seen.releases.values() if release.run_id}
    stays |= {desired.federated.run_id for desired in seen.desired.values() if desired.federated is not None}
    return [id for _, id in reversed(ended) if id not in stays and not _stays(seen.runs[id], seen)]


def _stays(run: Run, seen: EndedView) -> bool:
    return _unsettled(run, seen) or (run.state is RunState.SUCCEEDED and run.weights in seen.weights)


def _unsettled(run: Run, seen: EndedView) -> bool:
    return run.origin == "loop" and run.run_id not in seen.settled


def _group(rollout: Rollout) -> tuple[str, bool]:
    return rollout.model, rollout.state is RolloutState.SUCCEEDED


def _newest(newest_first: Iterable[tuple[object, str]], keep: int) -> set[str]:
    """The first `keep` ids of each group."""
    counts: dict[object, int] = {}
    stays = set()
    for group, id in newest_first:
        counts[group] = counts.get(group, 0) + 1
        if counts[group] <= keep:
            stays.add(id)
    return stays


def _followed(seen: EndedView, passed: Iterable[str]) -> set[str]:
    """`passed`: newest first."""
    holding: dict[tuple[str, str], list[tuple[str, frozenset[str]]]] = {}  # by model and digest: rollouts, and whom they name
    for id in passed:
        rollout = seen.rollouts[id]
        if (release := seen.releases.get(rollout.release_id)) is not None:
            for digest in release.artifacts:
                holding.setdefault((rollout.model, digest), []).append((id, frozenset(rollout.policy.nodes)))
    found = set()
    for node_id, desired in seen.desired.items():
        for model, wanted in desired.models.items():
            found.add(wanted.rollout_id)
            holds = holding.get((model, wanted.manifest_digest), ())
            found.update([id for id, named in holds if not named or node_id in named][:1])
    return found
