"""Fits a search to a data set: it begins with the students of `littoral-cloud train`, and varies them.

This is for a search with a name; a search in a file stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from littoral_cloud.data.dataset import Dataset
from littoral_cloud.recipes.fitted import fitted, stated, suits_the_demo
from littoral_cloud.recipes.recipe import Production, StudentRecipe, TeacherRecipe
from littoral_cloud.recipes.recipe_file import SEARCH
from littoral_cloud.search.recipe import INT8, SearchRecipe, names, search_from, search_named

_VARIED: Mapping[str, tuple[str, ...]] = {"images": ("cnn-s", "mobile"), "table": ("mlp",), "series": ("dw",)}
"""The fitted students to vary, by kind of data: those that are small and still accurate."""

_FEW = 2_000  # training examples; with fewer, a larger share judges the trials
_LEAST_SIDE = 16  # pixels; a smaller image keeps its resolution
_SETTLE = 2


def search_for(recipe: str | Path, dataset: Dataset, *, model: str | None = None) -> SearchRecipe:
    """A search by name, fitted to the data set, or from a file as it is. Raises what search_named raises."""
    if str(recipe) not in names():
        return search_named(recipe, model=model)
    start = fitted(dataset, model)
    if suits_the_demo(dataset):  # the search that comes with Littoral is for these
        return replace(search_named(recipe, model=model), start=start)
    body = {"model": start.model, **_body(start, dataset)}
    found = search_from(body, what=f"{recipe}, fitted to {dataset.name}")
    judged = max(1.0, len(dataset.train_y) * found.settings.held_out)
    # Chance is no gain: one standard deviation of the accuracy of a student that is right in nineteen of twenty.
    gain = round(math.sqrt(0.05 * 0.95 / judged), 4)
    return replace(found, settings=replace(found.settings, gain=gain), start=start)


def _body(start: Production, dataset: Dataset) -> dict[str, Any]:
    """The recipe as values of TOML."""
    assert isinstance(start.teacher, TeacherRecipe)
    varied = [student for student in start.students if student.name in _VARIED[dataset.kind]]
    space: dict[str, Any] = {
        "width": {"low": 0.4, "high": 2.0, "log": True},
        "weight-sharing": {"bits": {"low": 2, "high": 5}},
        "alpha": {"low": 0.0, "high": 0.5},
        "beta": {"low": 0.5, "high": 1.0},
        "temperature": {"low": 1.0, "high": 8.0, "log": True},
    }
    if dataset.kind == "images" and "resolution" not in varied[0].architecture and min(dataset.shape[1:]) >= _LEAST_SIDE:
        space["resolution"] = {"choices": [1.0, 0.75, 0.5]}
    return {
        "teacher": stated(start.teacher),
        "student": [table for student in varied for table in _compressed(student)],
        SEARCH: {
            "rungs": [1.0],  # training is short, and a part of it tells little
            "held_out": 0.2 if len(dataset.train_y) < _FEW else 0.1,
            "settle": _SETTLE,
            "space": space,
        },
    }


def _compressed(student: StudentRecipe) -> list[dict[str, Any]]:
    """Two variants of a student: trained for int8, and with shared weights, which take the fewest bytes to travel."""
    plain = {key: value for key, value in stated(student).items() if key != "variants"}
    qat = {"kind": "qat", "epochs": math.ceil(student.epochs / 4)}
    sharing = {"kind": "weight-sharing", "epochs": math.ceil(student.epochs / 2), "bits": 4}
    return [
        {**plain, "name": f"{student.name}-int8", "variants": [INT8], "method": [qat]},
        {**plain, "name": f"{student.name}-code", "variants": ["onnx"], "method": [sharing]},
    ]
