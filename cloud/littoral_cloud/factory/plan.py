"""A recipe, resolved once: which trainings there are, in which order, on which copies of the images, in how many steps.

    plan = plan_of(recipe, dataset)
    [stage.name for stage in plan.stages]    # "teacher", "small", "small-magnitude"
    plan.logits_bytes                        # of the teacher's logits, on the disk

Production, progress and the estimate of the time read the plan; none of them reads the recipe's schedules again.
"""

from __future__ import annotations

from dataclasses import dataclass

from littoral_cloud.compression.method import Method
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.recipes.recipe import Production, StudentRecipe, TeacherRecipe, stages, trained_teachers
from littoral_cloud.training.augmentation import Augment
from littoral_cloud.training.schedule import Schedule

ImageCopy = tuple[Augment | None, int]
"""A moved copy of all training images: how they are moved, and the copy's number."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One training: of a teacher, of a student, or of one method on a student."""

    name: str  # of its checkpoint
    schedule: Schedule
    steps: int
    copies: tuple[ImageCopy, ...]  # in the order of need


@dataclass(frozen=True, slots=True, eq=False)
class TeacherPlan:
    recipe: TeacherRecipe
    taught: Stage


@dataclass(frozen=True, slots=True, eq=False)
class StudentPlan:
    recipe: StudentRecipe
    taught: Stage
    methods: tuple[tuple[Stage, Method], ...]

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (self.taught, *(stage for stage, _ in self.methods))


@dataclass(frozen=True, slots=True, eq=False)
class ProductionPlan:
    recipe: Production
    teachers: tuple[TeacherPlan, ...]  # those that are trained here
    students: tuple[StudentPlan, ...]
    examples: int  # of training
    classes: int

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (*(teacher.taught for teacher in self.teachers), *(stage for student in self.students for stage in student.stages))

    @property
    def copies(self) -> tuple[ImageCopy, ...]:
        """Every copy that a student learns from, once, in the order of need."""
        return tuple(dict.fromkeys(copy for student in self.students for stage in student.stages for copy in stage.copies))

    @property
    def answered_copies(self) -> int:
        """How many copies the recipe's teacher answers; 0 where the recipe has none."""
        return len(self.copies) if self.recipe.teacher else 0

    @property
    def logits_bytes(self) -> int:
        """What the teacher's logits take on the disk: float32, (examples, classes) for each copy."""
        return self.answered_copies * self.examples * self.classes * 4

    @property
    def artifacts(self) -> int:
        return sum(len(student.recipe.variants) for student in self.students)


def plan_of(recipe: Production, dataset: Dataset) -> ProductionPlan:
    examples = len(dataset.train_y)
    teachers = tuple(
        TeacherPlan(teacher, _stage(name, teacher.schedule, teacher.epochs, examples))
        for name, teacher in trained_teachers(recipe.teacher)
    )
    students = tuple(student_plan(student, examples) for student in recipe.students)
    return ProductionPlan(recipe, teachers, students, examples, dataset.classes)


def student_plan(student: StudentRecipe, examples: int) -> StudentPlan:
    name, *names = stages(student)
    return StudentPlan(
        student,
        _stage(name, student.schedule, student.epochs, examples),
        tuple(
            (_stage(name, method.schedule, method.epochs, examples), method)
            for name, method in zip(names, student.methods, strict=True)
        ),
    )


def _stage(name: str, schedule: Schedule, epochs: int, examples: int) -> Stage:
    copies = min(schedule.augment.copies if schedule.augment else 1, epochs)
    used = tuple((schedule.augment, schedule.copy(epoch)) for epoch in range(copies))
    steps = 1 if schedule.optimiser == "lbfgs" else epochs * max(1, examples // schedule.batch)
    return Stage(name, schedule, steps, used)
