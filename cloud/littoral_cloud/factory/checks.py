"""Checks a recipe against a data set before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from littoral.architectures import build, sizes_of
from littoral.errors import BadInput
from littoral_cloud.compression.method import Method
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.factory.plan import ProductionPlan, plan_of
from littoral_cloud.packaging.package import EXPORTERS
from littoral_cloud.recipes.recipe import Production
from littoral_cloud.teachers.teacher import loaded_teachers
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.seeding import seeded


def check_recipe(recipe: Production, dataset: Dataset) -> None:
    """Finds the faults of a recipe that can be seen before anything is trained.

    Raises BadInput, naming the student: a variant is unknown, an architecture does not fit the data set, a method names a layer
    that is not there or takes out what cannot be taken out.
    """
    check_plan(plan_of(recipe, dataset), dataset)


def check_plan(plan: ProductionPlan, dataset: Dataset) -> None:
    """As check_recipe, of a recipe that is resolved."""
    for student in plan.students:
        for stage in student.stages:
            _check_schedule(f"student {student.recipe.name}", stage.schedule, dataset)
        for variant in student.recipe.variants:
            if variant not in EXPORTERS:
                hint = f"one of {', '.join(EXPORTERS)}"
                raise BadInput(f"student {student.recipe.name}: variant {variant!r} is not known", hint=hint)
    for teacher in plan.teachers:
        _check_schedule(teacher.taught.name, teacher.taught.schedule, dataset)
    networks: list[tuple[str, Mapping[str, Any], Sequence[Method]]] = []
    networks += [(teacher.taught.name, teacher.recipe.architecture, ()) for teacher in plan.teachers]
    networks += [(f"student {s.recipe.name}", s.recipe.architecture, s.recipe.methods) for s in plan.students]
    for name, spec, methods in networks:
        try:
            with seeded(0):
                module = build(spec, **sizes_of(spec, dataset.shape), classes=dataset.classes)
            for method in methods:
                module = method.rehearsed(module, dataset.shape)
        except BadInput as error:
            raise BadInput(f"{name}: {error.message}", hint=error.hint) from error


def check_teacher(recipe: Production, dataset: Dataset) -> None:
    """Loads each teacher that is not trained here, and tries it on a few images. Raises what ready_teacher raises."""
    if recipe.teacher is not None:
        loaded_teachers(recipe.teacher, dataset)


def _check_schedule(name: str, schedule: Schedule, dataset: Dataset) -> None:
    """Raises BadInput where a schedule moves examples that are no images."""
    if dataset.kind != "images" and (schedule.shift or schedule.augment):
        moved = "augment" if schedule.augment else "shift"
        raise BadInput(
            f"{name}: schedule.{moved} moves images, {dataset.name} holds {dataset.kind}", hint=f"leave {moved} out of the recipe"
        )
