"""How much of a production is done: steps of several trainings, a teacher's answers and artifacts, added up to one share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from littoral_cloud.recipes.recipe import Production, StudentRecipe, asked_for, schedule_of, stages, trained_teachers
from littoral_cloud.training.resume import Stopped
from littoral_cloud.training.schedule import Progress, Step, no_progress

Share = Callable[[float], None]
"""Told how much of the whole is done, 0..1."""

# What steps cost relative to each other is not known beforehand; packaging is taken for this share of the whole.
_PACKAGING = 0.2
_ANSWERED_PER_STEP = 400  # images that a teacher answers in the time of one step of training, roughly
_TELL_EVERY = 50  # steps


class ProductionProgress:
    """Called from several threads. Whoever tells it something while a stop is wanted is ended by Stopped."""

    def __init__(
        self,
        recipe: Production,
        examples: int,
        tell: Share,
        stop: threading.Event | None = None,
        *,
        keeps: bool = False,
        steps: Progress = no_progress,
    ) -> None:
        """`keeps`: checkpoints are, and it is they that end a training that is told to stop."""
        # What a training takes is guessed until its first step says it.
        self._steps = dict(_expected(recipe, examples))
        self._done = dict.fromkeys(self._steps, 0)
        self._answers = len(asked_for(recipe)) * examples / _ANSWERED_PER_STEP
        self._artifacts = max(1, sum(len(s.variants) for s in recipe.students))
        self.stop = stop or threading.Event()
        self._keeps, self._note = keeps, steps
        self._tell, self._lock = tell, threading.Lock()
        self._answered = self._told = 0.0
        self._packaged = 0

    def step(self, step: Step) -> None:
        self._note(step)
        with self._lock:
            self._steps[step.name], self._done[step.name] = step.steps, step.step
            if step.step % _TELL_EVERY == 0 or step.step == step.steps:
                self._say()
        if not self._keeps:
            self._look()

    def trained(self, name: str) -> None:
        """A training is over, of which there may be nothing left to do when it went on."""
        with self._lock:
            self._done[name] = self._steps[name] = self._steps.get(name, 0)

    def answered(self, count: int) -> None:
        with self._lock:
            self._answered += count / _ANSWERED_PER_STEP
            self._say()
        self._look()

    def artifact(self, _: str) -> None:
        with self._lock:
            self._packaged += 1
            self._say()
        self._look()

    def _say(self) -> None:
        done = sum(self._done.values()) + min(self._answered, self._answers)
        share = (1 - _PACKAGING) * done / max(1.0, sum(self._steps.values()) + self._answers)
        self._told = max(self._told, min(share + _PACKAGING * self._packaged / self._artifacts, 0.99))
        self._tell(self._told)

    def _look(self) -> None:
        if self.stop.is_set():
            raise Stopped("training: stopped", hint="the same command begins it again")


def _expected(recipe: Production, examples: int) -> list[tuple[str, int]]:
    steps = [(name, training_steps(plan, examples)) for name, plan in trained_teachers(recipe.teacher)]
    return [*steps, *(step for student in recipe.students for step in student_steps(student, examples))]


def student_steps(student: StudentRecipe, examples: int) -> list[tuple[str, int]]:
    """Of the student and of each of its methods, by the name of the training."""
    plans = [(student, None), *((method, student) for method in student.methods)]
    return [(name, training_steps(plan, examples, of)) for name, (plan, of) in zip(stages(student), plans, strict=True)]


def training_steps(plan: Any, examples: int, student: StudentRecipe | None = None) -> int:
    """A method need not say how long it trains: then it is taken for as long as its student."""
    schedule = plan.schedule if student is None else schedule_of(plan, student)
    if schedule.optimiser == "lbfgs":
        return 1
    epochs = getattr(plan, "epochs", student.epochs if student else 1)
    return int(epochs) * max(1, examples // schedule.batch)
