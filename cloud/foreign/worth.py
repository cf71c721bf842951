"""What one graph is worth on the measuring examples, what a smaller one lost, and what whoever releases it should know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.factory.metrics import learnt_nothing
from cloud.foreign.metrics import Measure, classes_of, guess_of, scores_of
from littoral.answers import examples_at_fault
from littoral.errors import BadInput
from littoral.signature import Metric

Array = npt.NDArray[Any]
MOST_LOST = 0.05
"""The share of its worth that an int8 may lose and still be released; of an accuracy, what chance may add to it on so few
examples (two standard deviations) is not counted."""
MOST_FAULTY = 0.5
"""The share of the examples that may have no answer: beyond it the model, or how its data were prepared, is broken."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What one graph was measured to be worth.

    `by_class`: of each label that has an example. `faulty`: which examples had no answer, see littoral/answers.py. `guess`: what
    guessing is worth by `metric`; None where that is not known.
    """

    accuracy: float
    by_class: Mapping[str, float]
    metric: Metric | None
    faulty: npt.NDArray[np.bool_]
    guess: float | None = None
    remarks: tuple[str, ...] = ()

    @property
    def examples(self) -> int:
        return len(self.faulty)


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
    faulty = examples_at_fault(answers, count)
    scores[faulty] = np.eye(len(labels))[(y[faulty] + 1) % len(labels)]
    held, within = np.unique(y, return_inverse=True)
    right = scores.argmax(1) == y
    by_class = {labels[place]: float(right[y == place].mean()) for place in held}
    counted = {**answers, output: scores}
    metric = None if measure.name == "accuracy" else measure.metric(counted, {**targets, "y": y}, output)
    remarks = []
    if len(held) < len(labels):
        remarks.append(f"{len(held)} of {len(labels)} classes measured: the data hold no other")
    if len(held) > 1 and (nothing := learnt_nothing(tuple(by_class.values()), within)):
        remarks.append(nothing)
    return Worth(float(right.mean()), by_class, metric, faulty, remarks=(*remarks, *_not_answered(faulty)))


def worth_by_metric(answers: Mapping[str, Any], targets: Mapping[str, Array], output: str, measure: Measure) -> Worth:
    """Of the examples that have an answer: by a metric of regression, a finite one. Raises BadInput where that is none."""
    count = len(answers[output])
    faulty = examples_at_fault(answers, count)
    guess = guess_of(measure.name, targets) if "y" in targets else None
    if guess is not None:
        faulty |= np.array([not np.isfinite(np.asarray(row, np.float64)).all() for row in answers[output]])
    if faulty.all():
        raise no_answer(faulty, finite=guess is not None)
    kept = {name: _where(values, ~faulty) for name, values in answers.items()}
    metric = measure.metric(kept, {name: values[~faulty] for name, values in targets.items()}, output)
    nothing: tuple[str, ...] = ()
    if guess is not None and metric.score <= replace(metric, value=guess).score:
        nothing = (f"learnt nothing: {metric.name} is {metric.value:.4g}, and always answering the mean of y has {guess:.4g}",)
    return Worth(0.0, {}, metric, faulty, guess, (*nothing, *_not_answered(faulty, finite=guess is not None)))


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


def no_answer(faulty: npt.NDArray[np.bool_], *, finite: bool = False) -> BadInput:
    """`finite`: infinity counted as no answer too, as an error of regression counts it."""
    what = "values that are not finite" if finite else "values that are not numbers, which nodes refuse"
    return BadInput(
        f"model: {_share(faulty)} are answered with {what}",
        hint="are the data as it learnt from them (--prepare, --mean and --std)?"
        + ("" if faulty.all() else " --yes releases it all the same, with a remark"),
    )


def _not_answered(faulty: npt.NDArray[np.bool_], *, finite: bool = False) -> tuple[str, ...]:
    if not faulty.any():
        return ()
    what = "finite: they are not in its measure" if finite else "numbers: such a request fails"
    return (f"{_share(faulty)} are answered with values that are not {what}",)


def _share(faulty: npt.NDArray[np.bool_]) -> str:
    return f"{int(faulty.sum())} of {len(faulty)} examples"


def _where(values: Any, kept: npt.NDArray[np.bool_]) -> Any:
    return values[kept] if isinstance(values, np.ndarray) else [row for row, keep in zip(values, kept, strict=True) if keep]
