"""Labels as people store them -> indices of classes and the classes' names.

Takes whole numbers, texts, truths and floats that are whole, in one row or one column. Refuses one-hot rows and measured values,
and names them as such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import BadData
from littoral.signature import is_text

Labels = npt.NDArray[np.int64]
_EXACT = 2.0**53  # up to here every whole number is a float64
REGRESSION = (
    "that is a regression, which is not trained yet: put the values into classes first, or import a model that was trained "
    "elsewhere (littoral-cloud artifact import MODEL.onnx --task regression)"
)


def labels_from(what: str, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One row of whole numbers or texts.

    Args:
        what: whose they are, for messages: "NAME: training".

    Raises:
        BadData: they are something else; says what, with the row where there is one, counted from 0.
    """
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and _one_hot(y):
        raise BadData(
            f"{what} labels are one-hot rows of {y.shape[1]} classes, shape {y.shape}",
            hint="one label for each example: y.argmax(axis=1)",
        )
    if y.dtype.kind == "b":
        return y.astype(np.int64)
    if y.dtype.kind == "S":
        return np.char.decode(y, "utf-8", "replace")
    if y.dtype.kind == "f" and y.ndim == 1:
        return _whole(what, y)
    if y.ndim != 1 or y.dtype.kind not in "iuU":
        raise BadData(
            f"{what} labels must be one row of whole numbers or texts, are {y.dtype} with shape {y.shape}",
            hint="one label for each example",
        )
    return y


def indices(
    name: str, train_y: npt.NDArray[Any], test_y: npt.NDArray[Any], labels: Sequence[str] | None
) -> tuple[Labels, Labels, tuple[str, ...]]:
    """Both splits as indices into the names of the classes, and those names.

    Args:
        labels: the names; None: the sorted different values of both splits.

    Raises:
        BadData: an index has no name, there are fewer than two classes, two have one name, or a split lacks one.
    """
    if labels is None:
        if (train_y.dtype.kind == "U") != (test_y.dtype.kind == "U"):
            raise BadData(
                f"{name}: training labels are {train_y.dtype}, test labels {test_y.dtype}", hint="use one kind of label"
            )
        values = np.unique(np.concatenate([train_y, test_y]))
        names = tuple(str(value) for value in values)
        check_classes(name, np.concatenate([train_y, test_y]))
        train_y, test_y = np.searchsorted(values, train_y), np.searchsorted(values, test_y)
    else:
        names = tuple(labels)
        for split, y in (("training", train_y), ("test", test_y)):
            if y.dtype.kind == "U" or y.min() < 0 or y.max() >= len(names):
                raise BadData(
                    f"{name}: {split} labels must be whole numbers from 0 to {len(names) - 1}", hint="there is one name a class"
                )
    if len(names) < 2:
        raise BadData(
            f"{name}: has one class only, {names[0]!r}" if names else f"{name}: has no class",
            hint="two are the least to tell apart",
        )
    if wrong := [label for label in names if not is_text(label)]:
        raise BadData(f"{name}: class {wrong[0]!a} is not UTF-8", hint="give its folder, or its label, another name")
    if twice := [label for label, count in Counter(names).items() if count > 1]:
        raise BadData(f"{name}: two classes are called {twice[0]!r}", hint="give each class a name of its own")
    for split, y in (("training", train_y), ("test", test_y)):
        missing = [names[i] for i in np.setdiff1d(np.arange(len(names)), y)]
        if missing:
            there = f"{len(names)} class names, {len(names) - len(missing)} labels: " if labels is not None else ""
            raise BadData(
                f"{name}: {there}no example of {', '.join(map(repr, missing[:8]))} in the {split} split",
                hint="every class needs examples in both splits: add some, or leave the class out",
            )
    return train_y.astype(np.int64), test_y.astype(np.int64), names


def _one_hot(y: npt.NDArray[Any]) -> bool:
    if y.dtype.kind not in "biuf" or y.shape[1] < 2 or not len(y):
        return False
    return bool(np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all())


def _whole(what: str, y: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if not (finite := np.isfinite(y)).all():
        row = int(np.argmin(finite))
        raise BadData(f"{what} labels: row {row} is {y[row]}", hint="leave that example out; counted from 0")
    if not (whole := (y == np.round(y)) & (np.abs(y) < _EXACT)).all():
        row = int(np.argmin(whole))
        raise BadData(f"{what} labels are measured values: row {row} is {y[row]}", hint=REGRESSION)
    return y.astype(np.int64)


def check_classes(name: str, y: npt.NDArray[Any]) -> None:
    """Raises BadData where nearly every row has a label of its own: those are no classes."""
    values, rows = np.unique(y), len(y)
    alone = rows > 2 and len(values) == rows
    if not alone and (y.dtype.kind not in "iu" or len(values) <= max(20, rows // 4)):
        return
    problem = (
        f"{name}: the labels have {len(values)} different values in {rows} rows, from {values[0]!s:.40} to {values[-1]!s:.40}"
    )
    if y.dtype.kind in "iu" and len(values) > 20:
        raise BadData(problem, hint=REGRESSION)
    raise BadData(problem, hint="every class needs two examples at least; if these are measured values, " + REGRESSION)
