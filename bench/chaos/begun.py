"""What is under way while faults come, a rollout and a federated run, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.chaos.stage import MODEL
from littoral.errors import FleetError
from littoral_cloud.app import Core
from littoral_cloud.federation import run as runs
from littoral_cloud.federation.start import start_run
from littoral_cloud.federation.terms import RunTerms
from littoral_cloud.fleet.ledger import until
from littoral_cloud.fleet.records import Probation, Release, load
from littoral_cloud.rollouts import state as rollouts
from littoral_cloud.rollouts.commands import start_rollout

POLICY = rollouts.RolloutPolicy(
    probation=Probation(duration_s=0.5, max_accuracy_drop=1.0, max_failure_rate=1.0), max_accuracy_loss=1.0, measure_s=60.0
)
ABSENT = ("offline", "is away", "has not come", "no answer")
"""Words of a way back for which somebody's absence is to blame."""


@dataclass
class Begun:
    """Ids of what was begun."""

    rollouts: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)

    async def keep_going(self, core: Core, releases: Sequence[Release], terms: RunTerms | None) -> None:
        """Begins a rollout where none is under way; with terms a run, too."""
        ended = await outcomes(core)
        if not self.rollouts or self.rollouts[-1] in ended:
            release = releases[len(self.rollouts) % len(releases)]
            self.rollouts.append(await start_rollout(core.ledger, release, core.clock(), POLICY))
        if terms is not None and (not self.runs or self.runs[-1] in ended):
            id = f"chaos-{len(self.runs) + 1}"
            await start_run(core, run_id=id, model=MODEL, terms=terms)
            self.runs.append(id)

    async def ended(self, core: Core, begun: Sequence[str], seconds: float) -> dict[str, str]:
        """The outcomes, once each of these has one; what has none after so long is missing."""

        async def look() -> dict[str, str] | None:
            found = await outcomes(core)
            return found if set(begun) <= set(found) else None

        try:
            return await until(core.ledger, (rollouts.KIND, runs.KIND), look, seconds=seconds, what="everything to end")
        except FleetError:
            return await outcomes(core)


async def outcomes(core: Core) -> dict[str, str]:
    """How each rollout and run that has ended did so, by id: the state, and the reason where it is no success."""
    found = {}
    for doc in await core.ledger.all(rollouts.KIND):
        rollout = load(rollouts.Rollout, doc)
        if rollout.state in rollouts.ENDED:
            found[doc.id] = f"{rollout.state} {rollout.reason}".strip()
    for run in await runs.all_runs(core.ledger):
        if run.state.terminal:
            found[run.run_id] = f"{run.state} {run.reason} {run.detail}".strip()
    return found


def lost(begun: Sequence[str], ended: Mapping[str, str]) -> list[str]:
    """What never ended, failed, went back because somebody was not there, or has no reason, in words."""
    missing = [f"{id}: never ended" for id in begun if id not in ended]
    how = {id: ended[id] for id in begun if id in ended}
    return missing + [
        f"{id}: {words}"
        for id, words in how.items()
        if words.startswith("FAILED") or any(word in words for word in ABSENT) or words == "ROLLED_BACK"
    ]
