"""Estimates the time and disk of a search: it times some training steps of the teacher, of the students that the search begins
with and of a few drawn ones, packages and measures each, and multiplies.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from littoral_cloud.factory.plan import plan_of
from littoral_cloud.factory.timing import teacher_seconds, timed
from littoral_cloud.search.draw import draw
from littoral_cloud.search.recipe import SearchRecipe
from littoral_cloud.search.space import START
from littoral_cloud.search.trial import SearchData, again, measured

_SAMPLES = 4  # students that are drawn and timed
_FRONT = 4  # students in the front, by assumption, beside those that the search began with


@dataclass(frozen=True, slots=True)
class Estimate:
    """For one worker on this machine, as busy as it is now. A search that gains nothing more ends earlier."""

    trials: int  # drawn, and those that the search begins with
    runs: int  # trainings: those of every rung
    teacher_minutes: float  # to train it and to get its logits
    minutes: float  # of all runs
    release_minutes: float  # to train the students of the release again on all examples; 0 where that is not done
    step_ms: float  # a training step of a student, the median
    disk_bytes: int  # checkpoints and the teacher's logits


@dataclass(frozen=True, slots=True)
class _Timed:
    """One student of the search."""

    step_s: float  # of the student itself
    seconds: tuple[float, ...]  # of a run on each rung: training, methods, packaging, measuring
    checkpoint_bytes: int


def estimated(recipe: SearchRecipe, data: SearchData, *, clock: Callable[[], float]) -> Estimate:
    """Raises what training raises."""
    settings, dataset = recipe.settings, data.dataset
    drawn = draw(replace(recipe, settings=replace(settings, sampler="random")), range(min(_SAMPLES, settings.trials)))
    starts = [_timed(recipe, {START: name}, data, clock) for name in recipe.starts]
    samples = [_timed(recipe, params, data, clock) for params in drawn]
    counts = runs_on_rungs(settings.trials, settings.batch, len(settings.rungs))
    starting_s = sum(sum(start.seconds) for start in starts)
    whole = starting_s + sum(count * statistics.mean(s.seconds[rung] for s in samples) for rung, count in enumerate(counts))
    teacher = teacher_seconds(recipe.production({}), dataset, clock)
    release = 0.0
    if again(recipe, data):
        more = len(data.source.train_y) / len(dataset.train_y)
        release = more * (teacher + starting_s + _FRONT * statistics.mean(s.seconds[-1] for s in samples))
    runs = sum(counts) + len(starts) * len(settings.rungs)
    return Estimate(
        settings.trials + len(starts),
        runs,
        round(teacher / 60, 2),
        round(whole / 60, 2),
        round(release / 60, 2),
        round(statistics.median(s.step_s for s in samples) * 1000, 3),
        plan_of(recipe.production({}), dataset).logits_bytes + round(runs * statistics.mean(s.checkpoint_bytes for s in samples)),
    )


def runs_on_rungs(trials: int, batch: int, rungs: int) -> list[int]:
    """The number of runs on each rung, where half of a batch goes on to the next."""
    counts = [0] * rungs
    for begin in range(0, trials, batch):
        size = min(batch, trials - begin)
        for rung in range(rungs):
            counts[rung] += size
            size = -(-size // 2)
    return counts


def _timed(recipe: SearchRecipe, params: Mapping[str, Any], data: SearchData, clock: Callable[[], float]) -> _Timed:
    production = recipe.production(params)
    [student] = production.students
    found = timed(student, data.dataset, clock)
    began = clock()
    measured(found.found, student, data, production.model)
    package_s = clock() - began
    rungs = [recipe.production(params, rung=rung).students[0] for rung in range(len(recipe.settings.rungs))]
    return _Timed(found.step_s, tuple(found.run_s(rung, data.dataset) + package_s for rung in rungs), found.checkpoint_bytes)
