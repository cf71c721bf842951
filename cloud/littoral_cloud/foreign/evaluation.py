"""What one graph is worth on the measuring examples, what a smaller one lost, and remarks for the operator who releases it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.answers import examples_at_fault
from littoral.errors import BadInput
from littoral.metric import Metric
from littoral_cloud.foreign.metrics import Measure, classes_of, guess_of, scores_of
from littoral_cloud.packaging.metrics import learnt_nothing

Array = npt.NDArray[Any]
MOST_LOST = 0.05
"""The share of its worth that an int8 may lose and still be released; of an accuracy, what chance may add to it on so few
examples (two standard deviations) is not counted."""
MOST_FAULTY = 0.5
"""The share of the examples that may have no answer: beyond it the model, or how its data were prepared, is broken."""


@dataclass(frozen=True, slots=True, eq=False)
class Faults:
    """Which examples had no answer, (n,), and which outputs gave none; see littoral/answers.py."""

    where: npt.NDArray[np.bool_]
    outputs: tuple[str, ...]
    finite: bool  # infinity counted as no answer too, as an error of regression counts it

    @classmethod
    def of(cls, answers: Mapping[str, Any], count: int, finite: str = "") -> Faults:
        """`finite`: the output of which infinity is no answer either."""
        found = {name: examples_at_fault({name: values}, count) for name, values in answers.items()}
        if finite:
            found[finite] |= np.array([not np.isfinite(np.asarray(row, np.float64)).all() for row in answers[finite]])
        return cls(np.any(list(found.values()), axis=0), tuple(n for n, at in found.items() if at.any()), bool(finite))

    @property
    def share(self) -> float:
        return float(self.where.mean())

    def refusal(self) -> BadInput:
        what = "finite" if self.finite else "numbers, which nodes refuse"
        anyway = "" if self.where.all() else " --yes releases it all the same, with a remark"
        return BadInput(
            f"model: {self._description()} {what}",
            hint=f"are the data as it learnt from them (--prepare, --mean and --std)?{anyway}",
        )

    def remarks(self) -> tuple[str, ...]:
        if not self.where.any():
            return ()
        return (
            f"{self._description()} {'finite: they are not in its measure' if self.finite else 'numbers: such a request fails'}",
        )

    def _description(self) -> str:
        count = f"{int(self.where.sum())} of {len(self.where)} examples"
        return f"{count} are answered with values in {', '.join(self.outputs)} that are not"


@dataclass(frozen=True, slots=True)
class Worth:
    """What one graph was measured to be worth.

    `by_class`: of each label that has an example. `faults`: which examples had no answer. `guess`: what guessing is worth by
    `metric`; None where that is not known.
    """

    accuracy: float
    by_class: Mapping[str, float]
    metric: Metric | None
    faults: Faults
    guess: float | None = None
    remarks: tuple[str, ...] = ()

    @property
    def examples(self) -> int:
        return len(self.faults.where)


def worth_of_classifier(
    answers: Mapping[str, Any],
    targets: Mapping[str, Array],
    count: int,
    output: str,
    labels: tuple[str, ...],
    named: tuple[str, ...],
    measure: Measure,
    *,
    numbers: bool,
) -> Worth:
    """Of the classes that the data hold. What has no answer is wrong. Raises BadInput.

    Args:
        count: of examples.
        labels, named, numbers: see metrics.classes_of.
    """
    scores = scores_of(answers, output, count)
    y = classes_of(targets, len(labels), labels, named, numbers=numbers)
    faults = Faults.of(answers, count)
    faulty = faults.where
    scores[faulty] = np.eye(len(labels))[(y[faulty] + 1) % len(labels)]
    found, within = np.unique(y, return_inverse=True)
    right = scores.argmax(1) == y
    by_class = {labels[place]: float(right[y == place].mean()) for place in found}
    counted = {**answers, output: scores}
    metric = None if measure.name == "accuracy" else measure.metric(counted, {**targets, "y": y}, output)
    remarks = []
    if len(found) < len(labels):
        remarks.append(f"{len(found)} of {len(labels)} classes measured: the data have no others")
    if len(found) > 1 and (nothing := learnt_nothing(tuple(by_class.values()), within)):
        remarks.append(nothing)
    return Worth(float(right.mean()), by_class, metric, faults, remarks=(*remarks, *faults.remarks()))


def worth_by_metric(answers: Mapping[str, Any], targets: Mapping[str, Array], output: str, measure: Measure) -> Worth:
    """Of the examples that have an answer: by a metric of regression, a finite one. Raises BadInput where that is none."""
    guess = guess_of(measure.name, targets) if "y" in targets else None
    faults = Faults.of(answers, len(answers[output]), output if guess is not None else "")
    if faults.where.all():
        raise faults.refusal()
    answered = ~faults.where
    judged = {name: _where(values, answered) for name, values in answers.items()}
    metric = measure.metric(judged, {name: values[answered] for name, values in targets.items()}, output)
    nothing: tuple[str, ...] = ()
    if guess is not None and metric.score <= replace(metric, value=guess).score:
        nothing = (f"learnt nothing: {metric.name} is {metric.value:.4g}, and always answering the mean of y has {guess:.4g}",)
    return Worth(0.0, {}, metric, faults, guess, (*nothing, *faults.remarks()))


def chance_of(share: float, worth: Worth) -> float:
    """What chance may add to a share of the examples that are lost; of another metric nothing is known."""
    return 2 * math.sqrt(share * (1 - share) / worth.examples) if worth.metric is None else 0.0


def lost(whole: Worth, small: Worth) -> float:
    """The share of what `whole` is worth that `small` has not; of an error, of what it is better than guessing."""
    if whole.metric is None or small.metric is None:
        gone, of = whole.accuracy - small.accuracy, whole.accuracy
    else:
        gone, of = whole.metric.score - small.metric.score, abs(whole.metric.value)
        if whole.guess is not None:
            of = abs(whole.metric.value - whole.guess)
    if gone <= 0:
        return 0.0
    return gone / of if of else 1.0


def _where(values: Any, where: npt.NDArray[np.bool_]) -> Any:
    return values[where] if isinstance(values, np.ndarray) else [row for row, keep in zip(values, where, strict=True) if keep]
