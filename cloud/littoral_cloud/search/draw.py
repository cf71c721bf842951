"""Values for new trials, drawn by Optuna: a pure function of the outcomes of the batches before, and of a seed.

Multi-objective tree-structured Parzen estimators: Y. Ozaki et al., 2022, https://doi.org/10.1613/jair.1.13188. Of sizes,
operations and times their logarithms count: half of 2 KB is as much as half of 20 KB.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from littoral_cloud.search.recipe import Objective, SearchRecipe
from littoral_cloud.search.space import START, Dimension, Params, Range, text_of

_TRIES = 50  # to draw values of a student that is new
_STARTUP = 8  # first trials, with evenly drawn values
optuna.logging.set_verbosity(optuna.logging.WARNING)

Shown = tuple[Params, Mapping[Objective, float]]
"""The values of a trial, and its costs by objective."""


def draw(recipe: SearchRecipe, numbers: Sequence[int], shown: Sequence[Shown] = (), taken: Sequence[Params] = ()) -> list[Params]:
    """One set of values for each number: none that makes a student which is there already, as far as the space has others.

    The same arguments give the same values in every process.

    Args:
        numbers: of the trials.
        shown: done trials before these, from which the sampler learns.
        taken: the values of every trial before these.
    """
    space, settings, same = recipe.space, recipe.settings, recipe.same
    steer = settings.steer
    distributions = distributions_of(space)
    study = optuna.create_study(directions=["minimize"] * len(steer))
    for params, cost in shown:
        values = [cost[o] if o == "accuracy" else math.log(max(cost[o], 1e-9)) for o in steer]
        study.add_trial(create_trial(params=written(params, space), distributions=distributions, values=values))
    used = {same(params) for params in taken}
    found: list[Params] = []
    for number in numbers:
        study.sampler = _sampler(settings.sampler, _mixed(settings.seed, number))
        for _ in range(_TRIES):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # parts of Optuna's are called experimental
                trial = study.ask(distributions)
            params = read(trial.params, space)
            if same(params) not in used:
                break
            study.tell(trial, state=TrialState.FAIL)
        used.add(same(params))
        found.append(params)
    return found


def distributions_of(space: Mapping[str, Dimension]) -> dict[str, BaseDistribution]:
    """The space as Optuna's distributions. A choice is its JSON text, for a journal cannot store lists and tables."""
    found: dict[str, BaseDistribution] = {}
    for path, dimension in space.items():
        if not isinstance(dimension, Range):
            found[path] = CategoricalDistribution([text_of(option) for option in dimension.options])
        elif dimension.whole:
            step = int(dimension.step or 1)
            high = int(dimension.low) + (int(dimension.high) - int(dimension.low)) // step * step
            found[path] = IntDistribution(int(dimension.low), high, log=dimension.log, step=step)
        else:
            top = float(dimension.high)
            if dimension.step is not None:  # the last value that is reached
                top = dimension.low + math.floor((top - dimension.low) / dimension.step + 1e-9) * dimension.step
            found[path] = FloatDistribution(dimension.low, top, log=dimension.log, step=dimension.step)
    return found


def written(params: Params, space: Mapping[str, Dimension]) -> dict[str, Any]:
    """Values as the distributions take them."""
    if START in params:
        return {START: params[START]}
    return {path: params[path] if isinstance(space[path], Range) else text_of(params[path]) for path in space}


def read(params: Mapping[str, Any], space: Mapping[str, Dimension]) -> dict[str, Any]:
    """Values from the distributions. Floats get six digits, so that they are the same wherever they are written."""
    if START in params:
        return {START: params[START]}
    found: dict[str, Any] = {}
    for path, dimension in space.items():
        value = params[path]
        if not isinstance(dimension, Range):
            found[path] = json.loads(value)
        else:
            found[path] = float(f"{value:.6g}") if isinstance(value, float) else value
    return found


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP, multivariate=True, constant_liar=True)


def _mixed(seed: int, number: int) -> int:
    """A seed for one trial, unrelated to those of its neighbours."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")
