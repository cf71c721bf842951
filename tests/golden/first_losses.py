"""The first losses of every training of each built-in recipe, on 160 images of MNIST and two epochs.

After a change that moves them on purpose: `python -m tests.golden.first_losses`, and say why in the commit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from littoral_cloud.data.dataset import Dataset
from littoral_cloud.data.sources import load_mnist
from littoral_cloud.factory.production import Execution, teach_students
from littoral_cloud.recipes.recipe import EnsembleRecipe, Production, TeacherRecipe
from littoral_cloud.recipes.recipe_file import recipe_named
from littoral_cloud.training.schedule import Step

PATH = Path(__file__).with_suffix(".json")
EXAMPLES, EPOCHS, STEPS = 160, 2, 3

Losses = Mapping[str, list[float]]
"""Of the first steps, by the name of the training."""


def first_losses(recipe: str) -> Losses:
    found: dict[str, list[float]] = {}

    def note(step: Step) -> None:
        if step.step <= STEPS:
            found.setdefault(step.name, []).append(float(f"{step.loss:.7g}"))

    teach_students(_slice(recipe), _short(recipe_named(recipe)), Execution(steps=note))
    return dict(sorted(found.items()))


def _slice(recipe: str) -> Dataset:
    """The same pixels as images, as rows of a table, or as 28 channels of a series."""
    mnist = load_mnist()
    shape = {"table": (784,), "series": (28, 28)}.get(recipe)

    def taken(x: Any) -> Any:
        return x[:EXAMPLES] if shape is None else (x[:EXAMPLES].reshape(-1, *shape) / 255).astype(np.float32)

    return replace(
        mnist,
        train_x=taken(mnist.train_x),
        train_y=mnist.train_y[:EXAMPLES],
        test_x=taken(mnist.test_x),
        test_y=mnist.test_y[:EXAMPLES],
    )


def _short(recipe: Production) -> Production:
    teacher = recipe.teacher
    if isinstance(teacher, EnsembleRecipe):
        teacher = replace(teacher, members=tuple(replace(m, teacher=_quick(m.teacher)) for m in teacher.members))
    elif isinstance(teacher, TeacherRecipe):
        teacher = _quick(teacher)
    students = tuple(replace(_quick(s), methods=tuple(_quick(m) for m in s.methods)) for s in recipe.students)
    return replace(recipe, teacher=teacher, students=students, at_once=1)


def _quick(plan: Any) -> Any:
    """The same training for two epochs; a method that works in steps has one epoch for each."""
    return replace(plan, epochs=max(EPOCHS, getattr(plan, "steps", 0))) if hasattr(plan, "epochs") else plan


if __name__ == "__main__":
    import torch

    from littoral_cloud.recipes.recipe_file import names

    torch.set_num_threads(1)
    PATH.write_text(json.dumps({name: first_losses(name) for name in names()}, indent=1) + "\n")
