"""What a search has come to: pure functions on the list of its runs, as the journal has it.

A trial has a number. It runs once on each rung that it reaches; each run is one entry of Optuna's study:

    waiting -> running -> done | failed (cannot be trained) | lost (its lease lapsed, or its worker stopped)

A lost run is entered again with the next `attempt`. Where two workers enter the same run, the first entry in the journal
counts and the other one is void. moves.py says what a worker does next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from littoral.budget import Budget, Measured, best_fit, excesses
from littoral.errors import BadInput, NoFit
from littoral_cloud.search.front import non_dominated
from littoral_cloud.search.recipe import Objective, SearchSettings

State = Literal["waiting", "running", "done", "failed", "lost"]
LAPSED = "its lease lapsed"
_CHEAPER = 1.5  # a student of up to this many times the cost is about as cheap
_FAR = 3.0  # times `gain`: an accuracy so much lower is worth nothing


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """Measurements of a trial's exported artifact, on the held-out examples."""

    accuracy: float  # fractions
    worst_class: float
    worst_label: str
    transfer_bytes: int  # coded, as they travel to a node
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
        """For a budget; what only a node can measure is 0."""
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


@dataclass(frozen=True, slots=True)
class TrialRun:
    """One run of one trial on one rung."""

    id: int  # of its entry; -1 before it has one
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


def valid(runs: Iterable[TrialRun]) -> dict[tuple[int, int], TrialRun]:
    """The run that counts, by (trial, rung): one that is done, else one that failed, else the first of the last attempt."""
    found: dict[tuple[int, int], TrialRun] = {}
    for run in sorted(runs, key=lambda r: r.id):
        before = found.get((run.number, run.rung))
        if before is None or _weight(run) > _weight(before):
            found[run.number, run.rung] = run
    return found


def _weight(run: TrialRun) -> tuple[int, int]:
    return (2 if run.state == "done" else 1 if run.state == "failed" else 0), run.attempt


def costs(run: TrialRun, objectives: Sequence[Objective]) -> list[float]:
    """The costs of a run that is done; less is better."""
    assert run.outcome is not None
    return [run.outcome.cost(objective) for objective in objectives]


def finished(runs: Sequence[TrialRun], settings: SearchSettings) -> list[TrialRun]:
    """The runs of the last rung that are done, by number."""
    last = len(settings.rungs) - 1
    return sorted((r for r in valid(runs).values() if r.rung == last and r.state == "done"), key=lambda r: r.number)


def front(runs: Sequence[TrialRun], settings: SearchSettings) -> list[TrialRun]:
    """The finished trials that no other one dominates; the smallest first."""
    done = finished(runs, settings)
    best = [done[i] for i in non_dominated([costs(run, settings.objectives) for run in done])]
    return sorted(best, key=lambda r: (r.outcome.transfer_bytes if r.outcome else 0, r.number))


def seen(runs: Sequence[TrialRun]) -> list[TrialRun]:
    """What the sampler learns from: the highest rung of each trial that is done, by number."""
    found: dict[int, TrialRun] = {}
    for (number, rung), run in valid(runs).items():
        if run.state == "done" and (number not in found or rung > found[number].rung):
            found[number] = run
    return [found[number] for number in sorted(found)]


def fitting(runs: Sequence[TrialRun], settings: SearchSettings, budget: Budget) -> TrialRun:
    """The most accurate trial inside the budget. Raises NoFit, naming the limit that binds and the nearest trial."""
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
    """The most accurate student that fits, once `patience` whole batches have brought no better one; None before that."""
    batches = max((run.batch for run in runs), default=-1) + 1
    fits = inside(runs, settings, budget)
    if not fits:
        return None
    best = min(fits, key=lambda run: (costs(run, ("accuracy",)), run.number))
    return best if batches - 1 - best.batch >= settings.patience else None


def inside(runs: Sequence[TrialRun], settings: SearchSettings, budget: Budget) -> list[TrialRun]:
    """The finished trials inside the budget."""
    done = finished(runs, settings)
    return [run for run in done if run.outcome and not excesses(run.outcome.measured(""), budget)]


def settled(runs: Sequence[TrialRun], settings: SearchSettings) -> bool:
    """Whether the last `settle` batches gained nothing (see `gains`). Never where `settle` is 0."""
    done = finished(runs, settings)
    batches = max((run.batch for run in runs), default=-1) + 1
    if not settings.settle or batches <= settings.settle:
        return False
    before = [run for run in done if run.batch < batches - settings.settle]
    return not any(gains(run, before, settings) for run in done if run.batch >= batches - settings.settle)


def gains(run: TrialRun, before: Sequence[TrialRun], settings: SearchSettings) -> bool:
    """Whether a student is worth having beside those before it: no other is as accurate to within `gain` and about as cheap.

    A student that is far less accurate than the best one is worth nothing, however small it is.
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
    """The runs worth having beside the ones before them: the most accurate first, of equals the smaller one."""
    found: list[TrialRun] = []
    for run in sorted(runs, key=lambda r: (*costs(r, ("accuracy", "bytes")), r.number)):
        if gains(run, found, settings):
            found.append(run)
    return found


def check_budget(budget: Budget) -> None:
    """Raises BadInput for a limit that only a node can measure."""
    for field, called in (("peak_rss_bytes", "rss"), ("energy_mj", "energy")):
        if getattr(budget, field) is not None:
            raise BadInput(
                f"budget: {called} is measured on nodes, not in a search",
                hint="bound artifact, p95, worst or runtime here; nodes hold their own budgets as well",
            )
