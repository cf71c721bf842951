"""What a worker of a search does next: a pure function of the runs in the journal.

All workers that look at the same runs find the same move, so there is no leader. The rules, in order:

1. A run that is running without a lease: `Lose` it.
2. Lost runs: `Enter` each again with the next attempt; after MOST_DEATHS deaths as failed.
3. The last batch lacks trials: `Draw` them.
4. All runs of that batch on one rung have ended: `Enter` the better half on the next rung (successive halving).
5. A run is waiting, and no worker has its lease: `Train` it.
6. Other workers are busy: `WaitForWorkers`.
7. The budget has its student, all trials are done, or nothing more is gained: `End`.
8. Else `Draw` the next batch.

Trials 0 and 1 are a batch of two, rungs 0.25 and 1.0. Both train on rung 0 (5), the better one is entered on rung 1 (4) and
trains (5). A worker dies in it: when its lease lapses, the run is lost (1), entered again (2) and trained by another worker (5).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from littoral.budget import Budget
from littoral_cloud.search.front import better_half
from littoral_cloud.search.recipe import SearchSettings
from littoral_cloud.search.state import LAPSED, State, TrialRun, costs, inside, settled, taken, valid

MOST_DEATHS = 20
"""A run whose workers died this often fails: it may be the reason."""


@dataclass(frozen=True, slots=True)
class Train:
    """Take the lease of this run and train it."""

    run: TrialRun


@dataclass(frozen=True, slots=True)
class Lose:
    """The lease of this run has lapsed."""

    run: TrialRun


@dataclass(frozen=True, slots=True)
class Enter:
    """Add these runs to the journal: lost ones again, or those that reach the next rung."""

    runs: tuple[TrialRun, ...]


@dataclass(frozen=True, slots=True)
class Draw:
    """Draw values for the trials of a batch that are not `there` yet."""

    batch: int
    numbers: range
    there: frozenset[int]


@dataclass(frozen=True, slots=True)
class WaitForWorkers:
    """There is nothing to do until other workers have ended their runs."""


@dataclass(frozen=True, slots=True)
class End:
    """The search is over; see worker.Reason."""

    reason: Literal["trials", "fits", "settled"]


Move = Train | Lose | Enter | Draw | WaitForWorkers | End


def next_move(
    runs: Sequence[TrialRun],
    settings: SearchSettings,
    budget: Budget | None,
    leased: Collection[str],
    *,
    passed_over: Collection[int] = (),
    starts: int = 0,
) -> Move:
    """The next move; see the rules above.

    Args:
        leased: of the runs that are waiting or running, the leases that a worker has.
        passed_over: entries that this worker does not try again now, for another one was first.
        starts: the number of students that the search begins with: its first batch, in addition to the trials that it draws.
    """
    counted = valid(runs)
    for run in counted.values():
        if run.state == "running" and run.lease not in leased:
            return Lose(run)
    again = [_next_attempt(run, runs) for run in counted.values() if run.state == "lost"]
    if again:
        return Enter(tuple(again))
    batches = _batches(counted.values())
    last = max(batches, default=-1)
    if last >= 0:
        entered = {number for number, rung in counted if rung == 0 and counted[number, rung].batch == last}
        first, size = batches[last]
        if len(entered) < size:
            return Draw(last, range(first, first + size), frozenset(entered))
        promoted = _promoted(counted, range(first, first + size), settings, starts)
        if promoted:
            return Enter(promoted)
    waiting = [run for run in counted.values() if run.state == "waiting"]
    for run in sorted(waiting, key=lambda r: (r.batch, r.rung, r.number)):
        if run.lease not in leased and run.id not in passed_over:
            return Train(run)
    if waiting or any(run.state == "running" for run in counted.values()):
        return WaitForWorkers()
    if budget is not None and taken(runs, settings, budget) is not None:
        return End("fits")
    begin = max((run.number for run in counted.values()), default=-1) + 1
    if begin >= settings.trials + starts:
        return End("trials")
    if begin > starts and settled(runs, settings) and (budget is None or inside(runs, settings, budget)):
        return End("settled")
    size = settings.batch if begin or not starts else starts
    return Draw(last + 1, range(begin, min(begin + size, settings.trials + starts)), frozenset())


def _next_attempt(run: TrialRun, runs: Sequence[TrialRun]) -> TrialRun:
    deaths = sum(r.problem == LAPSED for r in runs if (r.number, r.rung) == (run.number, run.rung))
    state: State = "failed" if deaths >= MOST_DEATHS else "waiting"
    problem = f"its worker died {deaths} times" if state == "failed" else ""
    return TrialRun(-1, run.number, run.batch, run.size, run.rung, run.attempt + 1, run.params, state, None, problem)


def _batches(runs: Iterable[TrialRun]) -> dict[int, tuple[int, int]]:
    """The first number and the size of each batch."""
    found: dict[int, tuple[int, int]] = {}
    for run in runs:
        first, size = found.get(run.batch, (run.number, run.size))
        found[run.batch] = min(first, run.number), size
    return found


def _promoted(
    counted: Mapping[tuple[int, int], TrialRun], numbers: range, settings: SearchSettings, starts: int
) -> tuple[TrialRun, ...]:
    """The runs of a batch to enter on its next rung; none while a run of the rung before has not ended. The students that the
    search begins with reach every rung."""
    for rung in range(len(settings.rungs) - 1):
        here = [counted[number, rung] for number in numbers if (number, rung) in counted]
        if any(run.state not in ("done", "failed") for run in here):
            return ()
        done = [run for run in here if run.outcome is not None]
        places = better_half([costs(run, settings.steer) for run in done])
        missing = [r for i, r in enumerate(done) if (i in places or r.number < starts) and (r.number, rung + 1) not in counted]
        if missing:
            return tuple(TrialRun(-1, r.number, r.batch, r.size, rung + 1, 0, r.params, "waiting") for r in missing)
    return ()
