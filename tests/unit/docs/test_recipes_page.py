"""docs/recipes.md has every key of every table with its default, and its examples are recipes."""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import MISSING, asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral import decoder
from littoral_cloud.compression.methods import METHODS, method_class
from littoral_cloud.export.exported import Calibration, Options
from littoral_cloud.factory.checks import check_recipe
from littoral_cloud.packaging.package import EXPORTERS
from littoral_cloud.recipes.recipe import EnsembleRecipe, FunctionRecipe, OnnxRecipe, StudentRecipe, TeacherRecipe, WeightsRecipe
from littoral_cloud.recipes.recipe_file import TOP, parse_recipe
from littoral_cloud.teachers.function_teacher import FunctionTeacher
from littoral_cloud.training.augmentation import Augment
from littoral_cloud.training.schedule import Schedule
from tests.kit.images import bars

PAGE = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text()
TABLES: list[list[tuple[str, str]]] = [
    [(row[0].strip("` "), row[1].strip()) for line in block.splitlines()[2:] if (row := line.strip("|").split("|"))]
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
]
CLASSES: list[type[Any]] = [
    *(TeacherRecipe, OnnxRecipe, WeightsRecipe, FunctionRecipe, EnsembleRecipe, StudentRecipe),
    *(Options, Calibration, Schedule, Augment),
    *(method_class(kind) for kind in re.findall(r"^### `([\w-]+)`$", PAGE, re.MULTILINE)),
]


def default_of(field: Any, settings: type[Any]) -> str | Any:
    if settings.__module__ in {path.partition(":")[0] for path in METHODS.values()} and field.name in ("schedule", "seed"):
        return "the student's"
    if decoder.required(field):
        return "required"
    value = field.default_factory() if field.default is MISSING else field.default
    if value is None:
        return "none"
    return list(value) if isinstance(value, tuple) else {} if is_dataclass(value) else value


def test_the_page_has_the_keys_of_a_recipe_first() -> None:
    assert [name for name, _ in TABLES[0]] == list(TOP)
    assert {kind for kind in METHODS} == set(re.findall(r"^### `([\w-]+)`$", PAGE, re.MULTILINE))
    assert len(TABLES) == 1 + len(CLASSES)


def test_the_page_names_every_variant() -> None:
    [line] = re.findall(r"^The variants: .*$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`((?:onnx|ncnn|coreml|tensorrt)[a-z0-9-]*)`", line)) == set(EXPORTERS)


@pytest.mark.parametrize(("place", "settings"), list(enumerate(CLASSES, 1)), ids=[c.__name__ for c in CLASSES])
def test_a_table_has_every_key_with_its_default(place: int, settings: type[Any]) -> None:
    said = {name: tomllib.loads(f"x = {cell.strip('`')}")["x"] if "`" in cell else cell for name, cell in TABLES[place]}
    assert said == {field.name: default_of(field, settings) for field in decoder.settable(settings)}


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [program] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    [recipe] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    data = bars(size=28)
    found = parse_recipe(recipe, what="docs/recipes.md")
    check_recipe(found, data)
    (tmp_path / "net.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert isinstance(found.teacher, FunctionRecipe)
    teacher = FunctionTeacher.load(found.teacher, data)
    assert np.isfinite(teacher.logits(data.test_x)).all()
    assert asdict(found)["students"][1]["methods"][0]["ratio"] == 0.4
