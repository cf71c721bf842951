"""A refactoring must not move what is trained: see first_losses.py.

Measured with the kernels of AVX2 against the default ones: rounding moves the losses after a method by up to 2.2 % (a method
prunes by rank), those of other trainings by less than 0.58 %.
"""

import json

import pytest

from littoral_cloud.recipes.recipe_file import names, recipe_named
from tests.golden.first_losses import PATH, first_losses

AFTER_A_METHOD, OTHERS = 0.05, 0.01  # relative
GOLDEN = json.loads(PATH.read_text())


def test_every_recipe_has_golden_losses() -> None:
    assert sorted(GOLDEN) == sorted(names())


@pytest.mark.parametrize("recipe", sorted(GOLDEN))
def test_first_losses(recipe: str) -> None:
    found = first_losses(recipe)
    assert list(found) == list(GOLDEN[recipe])
    students = [student.name for student in recipe_named(recipe).students]
    for name, losses in GOLDEN[recipe].items():
        changed = name not in students and not name.startswith("teacher")
        assert found[name] == pytest.approx(losses, rel=AFTER_A_METHOD if changed else OTHERS), name
