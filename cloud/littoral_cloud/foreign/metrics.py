"""How good a model is at its task: metrics by name, or a function of the operator's own, package.module:function.

A function of one's own is called with what the model answered and what is right, {name: array} each, examples first (a list of
arrays where the model gives another number of things for each), and gives one number. Its attribute `higher_is_better` says which
way is up; without it, more is better. It runs in this process: it is the operator's own code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral import type_words
from littoral.errors import BadInput
from littoral.metric import Metric
from littoral_cloud.recipes.own_function import imported

Answers = Mapping[str, Any]  # arrays, or lists of arrays
Targets = Mapping[str, npt.NDArray[Any]]

_WHOLE = 2.0**53
USUAL: Mapping[str, str] = {"classification": "accuracy", "regression": "rmse"}


@dataclass(frozen=True, slots=True)
class Measure:
    """`of(answers, targets, output)` gives a number; `output` is the one that is judged."""

    name: str
    higher_is_better: bool
    of: Callable[[Answers, Targets, str], float]

    def metric(self, answers: Answers, targets: Targets, output: str) -> Metric:
        """Raises BadInput where there is no number to be had."""
        value = self.of(answers, targets, output)
        if not math.isfinite(value):
            raise BadInput(f"metric: {self.name} is {value}", hint="look at the data and at what the model answers")
        return Metric(self.name, value, self.higher_is_better)


def measure_named(name: str, *, lower_is_better: bool = False) -> Measure:
    """A metric by its name. Raises BadInput or NotFound, naming the nearest one."""
    if ":" in name:
        return _own(name, lower_is_better)
    if name not in METRICS:
        raise BadInput(
            f"metric: {name!r} is not known",
            hint=f"{type_words.nearest(name, list(METRICS))}one of {', '.join(METRICS)}, or package.module:function",
        )
    better, of = METRICS[name]
    return Measure(name, better, of)


def _own(path: str, lower_is_better: bool) -> Measure:
    function = imported(path, "metric")
    higher = False if lower_is_better else bool(getattr(function, "higher_is_better", True))

    def called(answers: Answers, targets: Targets, _: str) -> float:
        try:
            value = function(answers, targets)
        except Exception as error:
            raise BadInput(
                f"metric: {path} raised {type(error).__name__}: {error}",
                hint=f"it is called with answers {sorted(answers)} and targets {sorted(targets)}",
            ) from error
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise BadInput(f"metric: {path} gave {type(value).__name__}, not a number", hint="return one number") from error
        return number

    return Measure(path, higher, called)


def scores_of(answers: Answers, output: str, count: int) -> npt.NDArray[np.float64]:
    """(n, classes). Raises BadInput where the output is something else."""
    found = answers[output]
    if not isinstance(found, np.ndarray) or found.ndim != 2 or len(found) != count or found.shape[1] < 2:
        shape = found.shape if isinstance(found, np.ndarray) else "of other sizes for each example"
        raise BadInput(
            f"output {output}: is {shape}, a classifier gives (n, classes)", hint="name another with --output, or --task"
        )
    return found.astype(np.float64)


def classes_of(
    targets: Targets, classes: int, labels: tuple[str, ...], named: tuple[str, ...] = (), *, numbers: bool = False
) -> npt.NDArray[np.int64]:
    """What is right as indices of the model's classes. Raises BadInput.

    Args:
        labels: the model's, in its order.
        named: what the data call the classes that whole numbers in y stand for. Where these are names of the model's, they
            count, in any order of the data.
        numbers: the graph itself calls its classes by these numbers.
    """
    y = _target(targets)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim == 1 and y.dtype.kind == "f" and (y == np.floor(y)).all() and (np.abs(y) < _WHOLE).all():
        y = y.astype(np.int64)
    if y.ndim != 1 or y.dtype.kind not in "iubU":
        one_hot = y.ndim == 2 and y.shape[1] == classes
        raise BadInput(
            f"y: is {y.dtype} of shape {y.shape}",
            hint="store y.argmax(axis=1)" if one_hot else "one class number, or label, for each example",
        )
    if y.dtype.kind == "b":
        y = y.astype(np.int64)
    places = {label: i for i, label in enumerate(labels)}
    if y.dtype.kind != "U" and named and named != labels and set(named) <= set(places):
        if y.min() < 0 or y.max() >= len(named):
            raise BadInput(f"y: runs from {y.min()} to {y.max()}, the data name {len(named)} classes", hint="one name for each")
        y = np.array(named)[y]
    elif y.dtype.kind != "U" and numbers and {str(value) for value in np.unique(y)} <= set(places):
        y = y.astype(np.str_)
    if y.dtype.kind == "U":
        if missing := [str(value) for value in np.unique(y) if str(value) not in places]:
            raise BadInput(
                f"y: {missing[0]!r} is none of the model's labels", hint="give them with --labels, in the model's order"
            )
        return np.array([places[str(value)] for value in y], np.int64)
    if y.min() < 0 or y.max() >= classes:
        problem = f"y: runs from {y.min()} to {y.max()}, the model knows {classes} classes"
        raise BadInput(problem, hint=f"use 0 to {classes - 1}")
    return y.astype(np.int64)


def _target(targets: Targets) -> npt.NDArray[Any]:
    if "y" not in targets:
        raise BadInput("data: hold no y", hint="store what is right as y, examples first")
    return targets["y"]


def guess_of(name: str, targets: Targets) -> float | None:
    """What always answering the mean of y is worth by a metric of regression; None: by any other, or where y are no numbers."""
    if name not in ("rmse", "mae", "r2"):
        return None
    y = _target(targets)
    if y.dtype.kind not in "iufb":
        return None
    wanted = y.reshape(len(y), -1).astype(np.float64)
    answers = {"": np.repeat(wanted.mean(0, keepdims=True), len(wanted), axis=0)}
    return METRICS[name][1](answers, {"y": wanted}, "")


def _pairs(answers: Answers, targets: Targets, output: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Answers and targets of a regression, (n, k) each."""
    found, wanted = answers[output], _target(targets)
    if not isinstance(found, np.ndarray) or wanted.dtype.kind not in "iufb":
        raise BadInput(f"output {output}: a regression gives as many numbers for each example", hint="or --task custom")
    if not np.isfinite(wanted.astype(np.float64)).all():
        raise BadInput("y: holds a value that is not finite", hint="leave those examples out")
    rows = found.reshape(len(found), -1), wanted.reshape(len(wanted), -1)
    if rows[0].shape != rows[1].shape:
        raise BadInput(f"output {output}: has shape {found.shape}, y {wanted.shape}", hint="as many numbers for each example")
    return rows[0].astype(np.float64), rows[1].astype(np.float64)


def _accuracy(answers: Answers, targets: Targets, output: str) -> float:
    y = _target(targets)
    scores = scores_of(answers, output, len(y))
    return float((scores.argmax(1) == classes_of(targets, scores.shape[1], ())).mean())


def _worst_class(answers: Answers, targets: Targets, output: str) -> float:
    y = classes_of(targets, scores_of(answers, output, len(_target(targets))).shape[1], ())
    right = scores_of(answers, output, len(y)).argmax(1) == y
    return min(float(right[y == value].mean()) for value in np.unique(y))


def _rmse(answers: Answers, targets: Targets, output: str) -> float:
    found, wanted = _pairs(answers, targets, output)
    return float(np.sqrt(((found - wanted) ** 2).mean()))


def _mae(answers: Answers, targets: Targets, output: str) -> float:
    found, wanted = _pairs(answers, targets, output)
    return float(np.abs(found - wanted).mean())


def _r2(answers: Answers, targets: Targets, output: str) -> float:
    """1 - what is left of the spread around the mean; of several columns the mean."""
    found, wanted = _pairs(answers, targets, output)
    spread = ((wanted - wanted.mean(0)) ** 2).sum(0)
    if (spread == 0).any():
        raise BadInput("y: has one value only, r2 says nothing of it", hint="measure by rmse or mae")
    return float((1 - ((found - wanted) ** 2).sum(0) / spread).mean())


METRICS: Mapping[str, tuple[bool, Callable[[Answers, Targets, str], float]]] = {
    "accuracy": (True, _accuracy),
    "worst-class": (True, _worst_class),
    "rmse": (False, _rmse),
    "mae": (False, _mae),
    "r2": (True, _r2),
}
"""Whether more is better, and the function."""
