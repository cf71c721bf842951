"""How much of a production is done: steps of several trainings, a teacher's logits and artifacts, added up to one share."""

from __future__ import annotations

import threading
from collections.abc import Callable

from littoral_cloud.factory.plan import ProductionPlan
from littoral_cloud.training.resume import Stopped
from littoral_cloud.training.schedule import Progress, Step

Share = Callable[[float], None]
"""Gets the share that is done, 0 to 1."""


# What steps cost relative to each other is not known beforehand; packaging is taken for this share of the whole.
_PACKAGING = 0.2
_ANSWERED_PER_STEP = 400  # images that a teacher answers in the time of one step of training, roughly
_REPORT_EVERY = 50  # steps


class ProductionProgress:
    """Called from several threads. A call while a stop is wanted raises Stopped."""

    def __init__(self, plan: ProductionPlan, tell: Share, steps: Progress, stop: threading.Event, *, stops: bool) -> None:
        """`stops`: it ends trainings, too; where checkpoints are written, they do."""
        # A training's steps are expected ones until its first step names them.
        self._steps = {stage.name: stage.steps for stage in plan.stages}
        self._done = dict.fromkeys(self._steps, 0)
        self._answers = plan.answered_copies * plan.examples / _ANSWERED_PER_STEP
        self._artifacts = max(1, plan.artifacts)
        self._stop, self._stops, self._observe = stop, stops, steps
        self._tell, self._lock = tell, threading.Lock()
        self._answered = self._share = 0.0
        self._packaged = 0

    def step(self, step: Step) -> None:
        self._observe(step)
        with self._lock:
            self._steps[step.name], self._done[step.name] = step.steps, step.step
            if step.step % _REPORT_EVERY == 0 or step.step == step.steps:
                self._report()
        if self._stops:
            self._check_stop()

    def trained(self, name: str) -> None:
        """A training ended; one that went on from its last checkpoint may have had no step left."""
        with self._lock:
            self._done[name] = self._steps[name] = self._steps.get(name, 0)

    def answered(self, count: int) -> None:
        with self._lock:
            self._answered += count / _ANSWERED_PER_STEP
            self._report()
        self._check_stop()

    def artifact(self, _: str) -> None:
        with self._lock:
            self._packaged += 1
            self._report()
        self._check_stop()

    def _report(self) -> None:
        done = sum(self._done.values()) + min(self._answered, self._answers)
        share = (1 - _PACKAGING) * done / max(1.0, sum(self._steps.values()) + self._answers)
        self._share = max(self._share, min(share + _PACKAGING * self._packaged / self._artifacts, 0.99))
        self._tell(self._share)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Stopped("training: stopped", hint="the same command starts it again")
