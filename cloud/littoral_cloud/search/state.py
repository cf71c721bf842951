"""What a search has come to, and what is to be done next: pure functions on the list of its trials, as the journal has it.

A trial is known by its number. It runs once on each rung that it reaches; each of these runs is one entry of Optuna's study:

    waiting -> running -> done | failed (cannot be trained) | lost (its lease lapsed, or its worker was told to stop)

What was lost is entered again with the next `attempt`. Whoever looks at the same entries finds the same next move, so several
workers need no leader: where two of them enter the same run, the first in the journal counts and the other one is void.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from littoral.budget import Budget, Measured, best_fit, excesses
from littoral.errors import BadInput, NoFit
from littoral_cloud.search.front import better_half, non_dominated
from littoral_cloud.search.recipe import Objective, SearchSettings

State = Literal["waiting", "running", "done", "failed", "lost"]
LAPSED = "its lease lapsed"
_CHEAPER = 1.5  # times as much is still about as much
_FAR = 3.0  # gains
MOST_DEATHS = 20
"""A run whose worker died so often is given up: perhaps it is what they die of."""


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """What was measured of a trial's artifact, as exported, on the held-out images."""

    accuracy: float  # fractions
    worst_class: float
    worst_label: str
    transfer_bytes: int  # that travel to a node
    artifact_bytes: int  # of its files
    macs: int  # multiply-accumulates of one inference
    p50_ms: float  # batch 1, one thread, on the worker's machine
    p95_ms: float
    parameters: int
    runtime: str
    weights: str  # digest
    seconds: float  # of training, in the process that ended it

    @property
    def worst(self) -> tuple[str, float]:
        """The worst class and its accuracy."""
        return self.worst_label, self.worst_class

    def cost(self, objective: Objective) -> float:
        """Less is better."""
        costs = {"bytes": self.transfer_bytes, "macs": self.macs, "latency": self.p95_ms, "accuracy": 1 - self.accuracy}
        return float(costs[objective])

    def measured(self, name: str) -> Measured:
        """As budgets want it; what only a node can measure is 0."""
        return Measured(
            self.weights,
            name,
            self.runtime,
            self.accuracy,
            self.artifact_bytes,
            self.p95_ms,
            0,
            1,
            worst_class=self.worst_class,
            worst_label=self.worst_label,
        )

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> TrialOutcome:
        """From JSON values."""
        return cls(**{field.name: body[field.name] for field in fields(cls)})

    def written(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TrialRun:
    """One run of one trial on one rung."""

    id: int  # of its entry
    number: int  # of the trial, from 0
    batch: int  # from 0
    size: int  # trials in that batch
    rung: int
    attempt: int
    params: Mapping[str, Any]
    state: State
    outcome: TrialOutcome | None = None  # of a run that is done
    problem: str = ""  # why it failed or was lost

    @property
    def lease(self) -> str:
        return f"run-{self.id}"


@dataclass(frozen=True, slots=True)
class Train:
    run: TrialRun


@dataclass(frozen=True, slots=True)
class Lose:
    """Nobody holds the lease of this run any more."""

    run: TrialRun


@dataclass(frozen=True, slots=True)
class Enter:
    """Runs to put behind the others: lost ones again, or those that go on to the next rung."""

    runs: tuple[TrialRun, ...]


@dataclass(frozen=True, slots=True)
class Draw:
    """A batch of new trials, of which these are there already."""

    batch: int
    numbers: range
    there: frozenset[int]


@dataclass(frozen=True, slots=True)
class WaitForWorkers:
    """For what other workers are at."""


@dataclass(frozen=True, slots=True)
class End:
    reason: Literal["trials", "fits", "settled"]


Move = Train | Lose | Enter | Draw | WaitForWorkers | End


def valid(runs: Iterable[TrialRun]) -> dict[tuple[int, int], TrialRun]:
    """The run that counts, for each trial and rung: one that is done, else one that failed, else the last attempt's first."""
    found: dict[tuple[int, int], TrialRun] = {}
    for run in sorted(runs, key=lambda r: r.id):
        before = found.get((run.number, run.rung))
        if before is None or _weight(run) > _weight(before):
            found[run.number, run.rung] = run
    return found


def _weight(run: TrialRun) -> tuple[int, int]:
    return (2 if run.state == "done" else 1 if run.state == "failed" else 0), run.attempt


def next_move(
    runs: Sequence[TrialRun],
    settings: SearchSettings,
    budget: Budget | None,
    held: Collection[str],
    *,
    among: Collection[int] = (),
    starts: int = 0,
) -> Move:
    """What to do now.

    Args:
        held: the leases that somebody holds, of the runs that are waiting or running.
        among: entries that this worker could not have just now, and passes over.
        starts: how many students the search begins with: the first batch, and beside the trials that it draws.
    """
    counted = valid(runs)
    for run in counted.values():
        if run.state == "running" and run.lease not in held:
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
        if run.lease not in held and run.id not in among:
            return Train(run)
    if waiting or any(run.state == "running" for run in counted.values()):
        return WaitForWorkers()
    if budget is not None and taken(runs, settings, budget) is not None:
        return End("fits")
    begin = max((run.number for run in counted.values()), default=-1) + 1
    if begin >= settings.trials + starts:
        return End("trials")
    if begin > starts and settled(runs, settings) and (budget is None or _inside(runs, settings, budget)):
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
    """Of a batch, the runs on the next rung that are not entered yet; none while the rung before is not over. What the search
    begins with is trained to the end, whatever it is beside the others."""
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


def costs(run: TrialRun, objectives: Sequence[Objective]) -> list[float]:
    """Of a run that is done."""
    assert run.outcome is not None
    return [run.outcome.cost(objective) for objective in objectives]


def finished(runs: Sequence[TrialRun], settings: SearchSettings) -> list[TrialRun]:
    """The trials that were trained to the end, by number."""
    last = len(settings.rungs) - 1
    return sorted((r for r in valid(runs).values() if r.rung == last and r.state == "done"), key=lambda r: r.number)


def front(runs: Sequence[TrialRun], settings: SearchSettings) -> list[TrialRun]:
    """Of the trials that were trained to the end, those that no other one is better than in everything; the smallest first."""
    done = finished(runs, settings)
    best = [done[i] for i in non_dominated([costs(run, settings.objectives) for run in done])]
    return sorted(best, key=lambda r: (r.outcome.transfer_bytes if r.outcome else 0, r.number))


def seen(runs: Sequence[TrialRun]) -> list[TrialRun]:
    """What the sampler learns from: of each trial its highest rung that is done, by number."""
    found: dict[int, TrialRun] = {}
    for (number, rung), run in valid(runs).items():
        if run.state == "done" and (number not in found or rung > found[number].rung):
            found[number] = run
    return [found[number] for number in sorted(found)]


def fitting(runs: Sequence[TrialRun], settings: SearchSettings, budget: Budget) -> TrialRun:
    """The most accurate trial inside the budget. Raises NoFit: which limit binds, and what comes nearest."""
    done = {f"trial {run.number}": run for run in finished(runs, settings)}
    if not done:
        failed = next((f"; the first that failed: {run.problem}" for run in valid(runs).values() if run.state == "failed"), "")
        raise NoFit(f"no trial was trained to the end{failed}", hint="give the search more trials or more time")
    try:
        return done[best_fit([run.outcome.measured(name) for name, run in done.items() if run.outcome], budget).name]
    except NoFit as error:
        raise NoFit(
            error.message, hint="raise that limit, widen the space towards smaller students, or give the search more trials"
        ) from error


def taken(runs: Sequence[TrialRun], settings: SearchSettings, budget: Budget) -> TrialRun | None:
    """The first student that fits and cannot be bettered soon: `patience` whole batches have brought no better one.

    None: there is none yet, or the last batches still bettered it.
    """
    batches = max((run.batch for run in runs), default=-1) + 1
    inside = _inside(runs, settings, budget)
    if not inside:
        return None
    best = min(inside, key=lambda run: (costs(run, ("accuracy",)), run.number))
    return best if batches - 1 - best.batch >= settings.patience else None


def _inside(runs: Sequence[TrialRun], settings: SearchSettings, budget: Budget) -> list[TrialRun]:
    done = finished(runs, settings)
    return [run for run in done if run.outcome and not excesses(run.outcome.measured(""), budget)]


def settled(runs: Sequence[TrialRun], settings: SearchSettings) -> bool:
    """Whether the last `settle` batches brought nothing worth having (see gains); never where settle is 0."""
    done = finished(runs, settings)
    batches = max((run.batch for run in runs), default=-1) + 1
    if not settings.settle or batches <= settings.settle:
        return False
    before = [run for run in done if run.batch < batches - settings.settle]
    return not any(gains(run, before, settings) for run in done if run.batch >= batches - settings.settle)


def gains(run: TrialRun, before: Sequence[TrialRun], settings: SearchSettings) -> bool:
    """Whether a student is worth having beside those before it: none of them is as accurate, but for `gain`, and about as cheap.

    One that is far less accurate than the best of them is worth nothing, however small it is.
    """
    here, others = run.outcome, [r.outcome for r in before if r.outcome]
    assert here is not None
    if here.accuracy < max((o.accuracy for o in others), default=0.0) - _FAR * settings.gain:
        return False
    return not any(
        o.accuracy >= here.accuracy - settings.gain
        and o.transfer_bytes <= here.transfer_bytes * _CHEAPER
        and o.macs <= here.macs * _CHEAPER
        for o in others
    )


def distinct(runs: Sequence[TrialRun], settings: SearchSettings) -> list[TrialRun]:
    """Of runs that are done, those worth having beside those before them; the most accurate first, of equals the smaller."""
    kept: list[TrialRun] = []
    for run in sorted(runs, key=lambda r: (*costs(r, ("accuracy", "bytes")), r.number)):
        if gains(run, kept, settings):
            kept.append(run)
    return kept


def check_budget(budget: Budget) -> None:
    """Raises BadInput for a limit that only a node can measure."""
    for field, called in (("peak_rss_bytes", "rss"), ("energy_mj", "energy")):
        if getattr(budget, field) is not None:
            raise BadInput(
                f"budget: {called} is measured on nodes, not in a search",
                hint="bound artifact, p95, worst or runtime here; nodes hold their own budgets as well",
            )
