"""A recipe that fits a data set: a teacher and students that suit its shape, with epochs, batches, moves and an input size that
suit its size. A place to start: `littoral-cloud init` writes it to a file, for the user to change.

The recipe fits how often each example is seen, and how far it is moved. Few examples are seen in small batches and many epochs,
so that every training has some hundred steps. Images are moved by a fraction of their side, and the teacher answers the moved
images: on a side of 8 pixels, a move by one whole pixel makes another digit. 20,000 images or more of about MNIST's size get the
demo's recipe unchanged. Each constant was chosen on held-out training examples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from littoral_cloud.data.dataset import Dataset
from littoral_cloud.fleet.names import name_from
from littoral_cloud.recipes.recipe import DEMO, DEMO_TEACHER, Production, StudentRecipe, TeacherRecipe
from littoral_cloud.training.augmentation import Augment
from littoral_cloud.training.logistic import PENALTY
from littoral_cloud.training.schedule import Schedule

NAME = "auto"
ABOUT = "students with epochs, batch, moves and input size that fit the data: what is used where none is named"

MANY = 20_000
"""Examples from which on the demo's own schedule is used."""

_SIDE = 96  # pixels that a network sees of the longer side; larger images are scaled down inside it
_SMALL_SIDE = 20  # pixels
_STEPS, _STUDENT_STEPS = 800, 500
# A teacher of tables overfits few rows soon, so it gets fewer steps; its students are small, and need many to follow it.
_TABLE_STEPS, _TABLE_STUDENT_STEPS = 500, 1500
_TABLE_DECAY = 1.0
_TABLE_TEMPERATURE = 2.0
_MOST_EPOCHS = 1000
_QUICK_STEPS, _QUICK_STUDENT_STEPS = 500, 300
_MOVED = 0.06  # of the shorter side
_MOST_MOVED = 2.0  # pixels
_SOLVED_STEPS = 200
_MOST_SOLVED = 2e7  # values of all training examples that are solved for at once: 160 MB
_MOST_FEATURES = 4096  # of the linear student: with more it is larger than the others


def fitted(dataset: Dataset, model: str | None = None, *, quick: bool = False, solved: bool = True) -> Production:
    """The recipe for a data set.

    Args:
        model: the name under which nodes serve the students; None: after the data set's.
        quick: two students, each taught for some hundred steps.
        solved: with the linear student, where it suits; not for students that are to go on learning on nodes.
    """
    named = model or name_from(dataset.name, "model")
    count = len(dataset.train_y)
    if suits_the_demo(dataset) and not quick:
        return replace(DEMO, model=named)
    batch = 64 if count >= 2_000 else 32 if count >= 400 else 16
    schedule = Schedule(batch=batch, learning_rate=4e-3 if batch == 64 else 3e-3, augment=_moves(dataset))
    steps, student_steps = (_QUICK_STEPS, _QUICK_STUDENT_STEPS) if quick else (_STEPS, _STUDENT_STEPS)
    teaching = schedule
    if dataset.kind == "table":
        teaching, steps = replace(schedule, weight_decay=_TABLE_DECAY), min(steps, _TABLE_STEPS)
        student_steps = _TABLE_STUDENT_STEPS
    teacher, students = _architectures(dataset.shape)

    def epochs(wanted: int) -> int:
        return max(1, min(_MOST_EPOCHS, math.ceil(wanted / max(1, count // batch))))

    taught = tuple(
        replace(student, epochs=epochs(student_steps), schedule=schedule)
        for student in (students[1:] if quick and len(students) > 2 else students)
    )
    return Production(
        named,
        replace(DEMO_TEACHER, architecture=teacher, epochs=epochs(steps), schedule=teaching),
        (*taught, LINEAR) if solved and not quick and _solvable(dataset) else taught,
    )


LINEAR = StudentRecipe(
    "linear",
    {"name": "linear"},
    _SOLVED_STEPS,
    Schedule(optimiser="lbfgs", weight_decay=PENALTY),
    variants=("onnx", "ncnn-fp16"),
    alpha=1.0,
    beta=0.0,
)
"""Logistic regression as a student: what others must be better than, and of small tables often the best."""


def suits_the_demo(dataset: Dataset) -> bool:
    """Many images of about MNIST's size: the demo's recipe is for such."""
    return len(dataset.train_y) >= MANY and max(dataset.shape) <= _SIDE and len(dataset.shape) == 3


def _solvable(dataset: Dataset) -> bool:
    features = math.prod(dataset.shape)
    return features <= _MOST_FEATURES and features * len(dataset.train_y) <= _MOST_SOLVED


def _moves(dataset: Dataset) -> Augment | None:
    """How far images are moved. None: they are no images."""
    if dataset.kind != "images":
        return None
    shift = min(_MOST_MOVED, round(_MOVED * min(dataset.shape[1:]), 1))
    return Augment(rotation=8.0, scale=0.08, shear=0.08, shift=shift, copies=16)


def _architectures(shape: tuple[int, ...]) -> tuple[Mapping[str, Any], tuple[StudentRecipe, ...]]:
    """Of the teacher, and students that lack only their epochs."""
    match shape:
        case (_, height, width):
            scale = {"resolution": round(_SIDE / max(height, width), 4)} if max(height, width) > _SIDE else {}
            return {**DEMO_TEACHER.architecture, **scale}, tuple(
                replace(student, architecture={**student.architecture, **scale, **_unhalved(student, min(height, width))})
                for student in DEMO.students
            )
        case (_, _):
            ends = {"last_kernel": 7, "dilation": 1}
            teacher = {"name": "depthwise_1d", "stem": 48, "stem_kernel": 7, "widths": [48, 48], "kernels": [9, 11], "last": [64]}
            small = {"name": "depthwise_1d", "stem": 16, "stem_kernel": 5, "widths": [24, 24], "kernels": [5, 7], "last": [32]}
            smaller = {"name": "depthwise_1d", "stem": 8, "stem_kernel": 5, "widths": [12], "kernels": [7], "last": [16]}
            return {**teacher, **ends}, (
                StudentRecipe("dw", {**small, **ends}, 1, seed=2, variants=DEMO.students[0].variants),
                StudentRecipe("dw-s", {**smaller, **ends}, 1, seed=2, variants=("onnx-int8",)),
            )
        case _:
            plain = StudentRecipe("mlp", {}, 1, seed=2, variants=DEMO.students[0].variants, temperature=_TABLE_TEMPERATURE)
            return {"name": "perceptron", "widths": [128, 64]}, (
                replace(plain, name="mlp", architecture={"name": "perceptron", "widths": [32, 16]}),
                replace(plain, name="mlp-s", architecture={"name": "perceptron", "widths": [12]}, variants=("onnx-int8",)),
            )


def _unhalved(student: StudentRecipe, side: int) -> Mapping[str, Any]:
    """A small image is not halved before anything was seen in it."""
    return {"stem_stride": 1} if student.architecture["name"] == "mobilenet_v1" and side < _SMALL_SIDE else {}


def as_toml(recipe: Production, about: str) -> str:
    """A recipe with a teacher that is trained here, and students without methods, as a file that recipe_named reads again."""
    assert isinstance(recipe.teacher, TeacherRecipe)
    blocks = [_lines({"about": about, "model": recipe.model}), "[teacher]\n" + _lines(stated(recipe.teacher))]
    blocks += ["[[student]]\n" + _lines(stated(student)) for student in recipe.students]
    return "\n".join(blocks)


def stated(part: TeacherRecipe | StudentRecipe) -> dict[str, Any]:
    """The values that are not the default, as a table of a recipe file."""
    found: dict[str, Any] = {}
    for field in fields(part):
        value = getattr(part, field.name)
        if field.name == "schedule":
            usual = asdict(Schedule())
            value = {name: own for name, own in asdict(value).items() if own != usual[name]}
        if value != field.default and value != {}:
            found[field.name] = value
    return found


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{name} = {_toml(value)}\n" for name, value in table.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml(part)}" for name, part in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        quoted = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value)
        return f'"{quoted}"'
    return repr(value)
