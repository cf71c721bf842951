"""What a search will take: steps of a few of its students, and of its teacher, are timed now, and multiplied."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from cloud.data.dataset import Dataset
from cloud.factory.lesson import Lesson, Schedule, Step
from cloud.factory.production import answers_bytes
from cloud.factory.recipes import Production, schedule_of, trained_teachers
from cloud.factory.search.draw import draw
from cloud.factory.search.recipe import SearchRecipe
from cloud.factory.search.trial import Held
from cloud.factory.training import taught

_STEPS = 4  # that are timed of one network; the fastest counts, for the first one warms up
_SAMPLES = 4  # students whose steps are timed
_PACKAGE_S = 3.0  # a run's export, coding and measuring, roughly
_KEPT_BYTES = 3 * 4  # of a parameter in a checkpoint: its value and two moments


@dataclass(frozen=True, slots=True)
class Estimate:
    """Minutes are of one worker on this machine, as busy as it is now."""

    trials: int
    runs: int  # trainings: those of every rung
    teacher_minutes: float  # of its training; what it takes to answer is not in it
    minutes: float  # of all runs
    step_ms: float  # of a student, the median of those that were timed
    disk_bytes: int  # checkpoints and the teacher's answers


def estimated(recipe: SearchRecipe, held: Held, *, clock: Callable[[], float]) -> Estimate:
    """Raises what training raises."""
    settings, dataset = recipe.settings, held.dataset
    drawn = draw(
        recipe.space,
        [],
        list(range(min(_SAMPLES, settings.trials))),
        steer=settings.steer,
        sampler="random",
        seed=settings.seed,
        same=recipe.same,
        taken=[],
    )
    steps, seconds, kept = [], [], []
    for params in drawn:
        [student] = recipe.production(params).students
        step_s, parameters = _timed(student.architecture, student.schedule, dataset, clock)
        steps.append(step_s)
        seconds.append([step_s * _steps(recipe.production(params, rung=r), dataset) for r in range(len(settings.rungs))])
        kept.append(_KEPT_BYTES * parameters * (1 + len(student.methods)))
    counts = runs_on_rungs(settings.trials, settings.batch, len(settings.rungs))
    whole = sum(count * (statistics.mean(s[rung] for s in seconds) + _PACKAGE_S) for rung, count in enumerate(counts))
    teacher = 0.0
    for _, plan in trained_teachers(recipe.production({}).teacher):
        step_s, _ = _timed(plan.architecture, plan.schedule, dataset, clock)
        teacher += step_s * plan.epochs * max(1, len(dataset.train_y) // plan.schedule.batch)
    return Estimate(
        settings.trials,
        sum(counts),
        round(teacher / 60, 2),
        round(whole / 60, 2),
        round(statistics.median(steps) * 1000, 3),
        answers_bytes(recipe.production({}), dataset) + round(sum(counts) * statistics.mean(kept)),
    )


def runs_on_rungs(trials: int, batch: int, rungs: int) -> list[int]:
    """How many runs there are on each rung, when each batch is halved from rung to rung."""
    counts = [0] * rungs
    for begin in range(0, trials, batch):
        size = min(batch, trials - begin)
        for rung in range(rungs):
            counts[rung] += size
            size = -(-size // 2)
    return counts


def _steps(production: Production, dataset: Dataset) -> int:
    """Of the student and its methods."""
    [student] = production.students
    plans = [(student.epochs, student.schedule.batch)]
    plans += [(int(getattr(m, "epochs", student.epochs)), schedule_of(m, student).batch) for m in student.methods]
    return sum(epochs * max(1, len(dataset.train_y) // batch) for epochs, batch in plans)


def _timed(spec: Mapping[str, Any], schedule: Schedule, dataset: Dataset, clock: Callable[[], float]) -> tuple[float, int]:
    """Seconds of one step, and how many parameters the network has."""
    at: list[float] = []

    def note(_: Step) -> None:
        at.append(clock())

    lesson = Lesson(_few(dataset, schedule.batch), progress=note, clock=clock)
    found = taught(lesson, spec, name="estimate", epochs=_STEPS, schedule=schedule, seed=1)
    return min(after - before for before, after in pairwise(at)), found.parameters


def _few(dataset: Dataset, batch: int) -> Dataset:
    """As many images as a step has, every class among them, so that an epoch is a step."""
    firsts = np.unique(dataset.train_y, return_index=True)[1]
    others = np.setdiff1d(np.arange(len(dataset.train_y)), firsts)
    places = np.concatenate([firsts, others])[: max(batch, len(firsts))]
    return replace(dataset, train_x=dataset.train_x[places], train_y=dataset.train_y[places])
