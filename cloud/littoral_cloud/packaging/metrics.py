"""How right a network is: on the whole, in each class, and in the class that it is worst at.

The mean hides a class that was lost: a student that never says "8" is right on 90 % of ten even classes. A manifest therefore
holds the accuracy of every class, measured on the artifact as exported, and a budget can bound the worst (littoral.budget).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from littoral.errors import BadInput
from littoral_cloud.data.labels import Labels
from littoral_cloud.export.exported import Logits


def class_accuracy(logits: Logits, y: Labels, classes: int) -> tuple[float, ...]:
    """Of the examples of each class, the fraction that was answered right (the recall of each class).

    Args:
        logits: (n, classes), one row an example.
        y: (n,), whole numbers from 0 to classes - 1.
        classes: how many there are; every one must have an example, as Dataset sees to.

    Returns:
        `classes` fractions between 0 and 1, in the order of the classes; littoral.metric.worst_of finds the worst.

    Raises:
        BadInput: shapes do not match, a label is none of the classes, or a class has no example to be judged by.
    """
    if logits.shape != (len(y), classes):
        raise BadInput(
            f"logits: shape is {logits.shape}, {len(y)} examples of {classes} classes need {(len(y), classes)}",
            hint="the network's outputs and the data set's labels must be the same classes",
        )
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise BadInput(f"labels: run from {y.min()} to {y.max()}, there are {classes} classes", hint=f"use 0 to {classes - 1}")
    there = np.bincount(y, minlength=classes)
    if missing := np.flatnonzero(there == 0).tolist():
        raise BadInput(f"labels: no example of class {missing[0]}", hint="measure on a split that holds every class")
    right = np.bincount(y[logits.argmax(axis=1) == y], minlength=classes)
    return tuple((right / there).tolist())


def learnt_nothing(accuracy: Sequence[float], y: Labels) -> str:
    """A remark on a network that tells classes apart no better than chance does; empty where it does better.

    A network that guesses, or always gives one answer, has a mean accuracy over its classes of 1 / classes, however uneven the
    classes are. A mean up to two standard deviations above that still counts as guessed.

    Args:
        accuracy: of each class, on the examples of `y`.
    """
    chance, mean = 1 / len(accuracy), sum(accuracy) / len(accuracy)
    there = np.bincount(y, minlength=len(accuracy))
    luck = 2 * math.sqrt(chance * (1 - chance) * float((1 / there).sum())) / len(accuracy)
    if mean > chance + luck:
        return ""
    return f"learnt nothing: right on {mean:.1%} of the examples of a class in the mean, and guessing is on {chance:.1%}"
