"""What training takes on this machine, as busy as it is now: a few steps are timed, and multiplied."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from littoral_cloud.compression.method import Method
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.factory.plan import plan_of, student_plan
from littoral_cloud.recipes.recipe import Production, StudentRecipe
from littoral_cloud.training.schedule import Step
from littoral_cloud.training.train import Trained, logits_of, taught
from littoral_cloud.training.trainer import Trainer

CHECKPOINT_BYTES = 3 * 4
"""Of a parameter in a checkpoint: its value and two moments."""
PACKAGE_S = 3.0
"""An artifact's export, coding and measuring, roughly; seconds."""
_STEPS = 6  # that are timed of one network, or of one of its methods; their median counts
_ANSWERED = 256  # examples that a teacher answers, timed


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one run of a recipe, trainings one after another."""

    seconds: float
    disk_bytes: int  # checkpoints and the teacher's answers; gone when the release is made


@dataclass(frozen=True, slots=True)
class Timed:
    """One student, taught for a few steps. Seconds are of one step, or of all where its weights are solved for; `once`: of a
    method, beside its steps."""

    found: Trained
    step_s: float
    methods: tuple[tuple[float, float], ...]  # once, one step

    def run_s(self, student: StudentRecipe, dataset: Dataset) -> float:
        """Of the student and its methods, as they stand in this recipe."""
        plan = student_plan(student, len(dataset.train_y))
        more = sum(once + each * stage.steps for (once, each), (stage, _) in zip(self.methods, plan.methods, strict=True))
        return self.step_s * plan.taught.steps + more

    @property
    def checkpoint_bytes(self) -> int:
        return CHECKPOINT_BYTES * self.found.parameters * (1 + len(self.methods))


def costs_of(recipe: Production, dataset: Dataset, clock: Callable[[], float]) -> Costs:
    """Raises what training raises."""
    seconds, disk_bytes = teacher_seconds(recipe, dataset, clock), plan_of(recipe, dataset).logits_bytes
    for student in recipe.students:
        found = timed(student, dataset, clock)
        seconds += found.run_s(student, dataset) + PACKAGE_S * len(student.variants)
        disk_bytes += found.checkpoint_bytes
    return Costs(round(seconds, 1), disk_bytes)


def timed(student: StudentRecipe, dataset: Dataset, clock: Callable[[], float]) -> Timed:
    """Learning from the labels alone: a teacher's answers are read, not computed, while a student learns."""
    solved = student.schedule.optimiser == "lbfgs"
    watch = StepTimes(clock)
    data = dataset if solved else few(dataset, student.schedule.batch)
    trainer = Trainer(data, alpha=1.0, beta=0.0, progress=watch.note, clock=clock)
    began = clock()
    epochs = student.epochs if solved else _STEPS
    found = taught(trainer, student.architecture, name="estimate", epochs=epochs, schedule=student.schedule, seed=1)
    step_s = clock() - began if solved else watch.step_s()
    methods = []
    for method in student.methods:
        watch.at.clear()
        began = clock()
        found = _short(method).apply(found, trainer)
        each = watch.step_s()
        methods.append((max(0.0, clock() - began - each * len(watch.at)), each))
    return Timed(found, step_s, tuple(methods))


def teacher_seconds(production: Production, dataset: Dataset, clock: Callable[[], float]) -> float:
    """Of the teachers that are trained here: their training, and their answers to each copy."""
    found = 0.0
    some = dataset.train_x[:_ANSWERED]
    plan = plan_of(production, dataset)
    for each in plan.teachers:
        stage = each.taught
        watch = StepTimes(clock)
        trainer = Trainer(few(dataset, stage.schedule.batch), progress=watch.note, clock=clock)
        teacher = taught(trainer, each.recipe.architecture, name="estimate", epochs=_STEPS, schedule=stage.schedule, seed=1)
        found += watch.step_s() * stage.steps
        began = clock()
        logits_of(teacher.module, teacher.input, some)
        found += (clock() - began) * plan.answered_copies * plan.examples / len(some)
    return found


class StepTimes:
    """When each step of a training was over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.at: list[float] = []
        self._clock = clock

    def note(self, _: Step) -> None:
        self.at.append(self._clock())

    def step_s(self) -> float:
        """The median of the steps but the first, which warms up; 0 where there was one."""
        return statistics.median(after - before for before, after in pairwise(self.at)) if len(self.at) > 1 else 0.0


def few(dataset: Dataset, batch: int) -> Dataset:
    """As many examples as a step has, every class among them, so that an epoch is a step."""
    firsts = np.unique(dataset.train_y, return_index=True)[1]
    others = np.setdiff1d(np.arange(len(dataset.train_y)), firsts)
    places = np.concatenate([firsts, others])[: max(batch, len(firsts))]
    return replace(dataset, train_x=dataset.train_x[places], train_y=dataset.train_y[places])


def _short(method: Method) -> Method:
    """The same method, taught for a few steps."""
    return replace(method, epochs=max(_STEPS, getattr(method, "steps", 0)))
