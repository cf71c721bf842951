"""What a search will take: steps of what it begins with, of a few of its students and of its teacher are timed now, and what
comes of them is packaged and measured as it will be; then it is multiplied.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from cloud.data.dataset import Dataset
from cloud.factory.lesson import Lesson, Step
from cloud.factory.method import Method
from cloud.factory.production import answers_bytes
from cloud.factory.recipes import Production, StudentRecipe, asked_for, schedule_of, trained_teachers
from cloud.factory.search.draw import draw
from cloud.factory.search.recipe import SearchRecipe
from cloud.factory.search.space import START
from cloud.factory.search.trial import Held, again, measured
from cloud.factory.training import logits_of, taught

_STEPS = 6  # that are timed of one network, or of one of its methods; their median counts
_SAMPLES = 4  # students that are drawn and timed
_ANSWERED = 256  # examples that a teacher answers, timed
_FRONT = 4  # students that a search is taken to find, beside those that it began with
_KEPT_BYTES = 3 * 4  # of a parameter in a checkpoint: its value and two moments


@dataclass(frozen=True, slots=True)
class Estimate:
    """Minutes are of one worker on this machine, as busy as it is now. A search that finds nothing more ends before."""

    trials: int  # drawn ones and those that it begins with
    runs: int  # trainings: those of every rung
    teacher_minutes: float  # of its training and of its answers
    minutes: float  # of all runs
    release_minutes: float  # of teaching again, on all examples, what is released; 0 where that is not done
    step_ms: float  # of a student, the median of those that were timed
    disk_bytes: int  # checkpoints and the teacher's answers


@dataclass(frozen=True, slots=True)
class _Timed:
    """One student of the search."""

    step_s: float  # of the student itself
    seconds: tuple[float, ...]  # of a run, on each rung: taught, its methods, packaged and measured
    kept_bytes: int


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
    starts = [_timed(recipe, {START: name}, held, clock) for name in recipe.starts]
    samples = [_timed(recipe, params, held, clock) for params in drawn]
    counts = runs_on_rungs(settings.trials, settings.batch, len(settings.rungs))
    begun = sum(sum(start.seconds) for start in starts)
    whole = begun + sum(count * statistics.mean(s.seconds[rung] for s in samples) for rung, count in enumerate(counts))
    teacher = _teacher_s(recipe.production({}), dataset, clock)
    release = 0.0
    if again(recipe, held):
        more = len(held.source.train_y) / len(dataset.train_y)
        release = more * (teacher + begun + _FRONT * statistics.mean(s.seconds[-1] for s in samples))
    runs = sum(counts) + len(starts) * len(settings.rungs)
    return Estimate(
        settings.trials + len(starts),
        runs,
        round(teacher / 60, 2),
        round(whole / 60, 2),
        round(release / 60, 2),
        round(statistics.median(s.step_s for s in samples) * 1000, 3),
        answers_bytes(recipe.production({}), dataset) + round(runs * statistics.mean(s.kept_bytes for s in samples)),
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


def _timed(recipe: SearchRecipe, params: Mapping[str, Any], held: Held, clock: Callable[[], float]) -> _Timed:
    production = recipe.production(params)
    [student] = production.students
    solved = student.schedule.optimiser == "lbfgs"
    watch = _Watch(clock)
    lesson = Lesson(
        held.dataset if solved else _few(held.dataset, student.schedule.batch),
        alpha=1.0,
        beta=0.0,
        progress=watch.note,
        clock=clock,
    )
    began = clock()
    found = taught(
        lesson,
        student.architecture,
        name="estimate",
        epochs=student.epochs if solved else _STEPS,
        schedule=student.schedule,
        seed=1,
    )
    step_s, parameters = clock() - began if solved else watch.step_s(), found.parameters
    methods = []
    for method in student.methods:
        watch.at.clear()
        began = clock()
        found = _short(method).apply(found, lesson)
        each = watch.step_s()
        methods.append((max(0.0, clock() - began - each * len(watch.at)), each))
    began = clock()
    measured(found, student, held, production.model)
    package_s = clock() - began
    seconds = []
    for rung in range(len(recipe.settings.rungs)):
        [plan] = recipe.production(params, rung=rung).students
        run_s = step_s * (1 if solved else _steps(plan, plan, held.dataset)) + package_s
        for method, (once, each) in zip(plan.methods, methods, strict=True):
            run_s += once + each * _steps(method, plan, held.dataset)
        seconds.append(run_s)
    return _Timed(step_s, tuple(seconds), _KEPT_BYTES * parameters * (1 + len(student.methods)))


def _teacher_s(production: Production, dataset: Dataset, clock: Callable[[], float]) -> float:
    """Of the teachers that are trained here: their training, and their answers to each copy."""
    found = 0.0
    some = dataset.train_x[:_ANSWERED]
    for _, plan in trained_teachers(production.teacher):
        watch = _Watch(clock)
        lesson = Lesson(_few(dataset, plan.schedule.batch), progress=watch.note, clock=clock)
        teacher = taught(lesson, plan.architecture, name="estimate", epochs=_STEPS, schedule=plan.schedule, seed=1)
        found += watch.step_s() * plan.epochs * max(1, len(dataset.train_y) // plan.schedule.batch)
        began = clock()
        logits_of(teacher.module, teacher.input, some)
        found += (clock() - began) * len(asked_for(production)) * len(dataset.train_y) / len(some)
    return found


class _Watch:
    """When each step of a training was over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.at: list[float] = []
        self._clock = clock

    def note(self, _: Step) -> None:
        self.at.append(self._clock())

    def step_s(self) -> float:
        """The median of the steps but the first, which warms up; 0 where there was one."""
        return statistics.median(after - before for before, after in pairwise(self.at)) if len(self.at) > 1 else 0.0


def _short(method: Method) -> Method:
    """The same method, taught for a few steps."""
    epochs = {"epochs": max(_STEPS, getattr(method, "steps", 0))} if hasattr(method, "epochs") else {}
    return replace(method, **epochs)  # type: ignore[type-var]


def _steps(plan: Any, student: StudentRecipe, dataset: Dataset) -> int:
    """Of a student or of one of its methods."""
    epochs = int(getattr(plan, "epochs", student.epochs))
    return epochs * max(1, len(dataset.train_y) // schedule_of(plan, student).batch)


def _few(dataset: Dataset, batch: int) -> Dataset:
    """As many images as a step has, every class among them, so that an epoch is a step."""
    firsts = np.unique(dataset.train_y, return_index=True)[1]
    others = np.setdiff1d(np.arange(len(dataset.train_y)), firsts)
    places = np.concatenate([firsts, others])[: max(batch, len(firsts))]
    return replace(dataset, train_x=dataset.train_x[places], train_y=dataset.train_y[places])
