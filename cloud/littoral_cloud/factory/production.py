"""A recipe carried out: data set -> teacher -> its answers -> students -> methods -> measured artifacts."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from littoral.errors import BadInput
from littoral.lineage import MEMBER, TEACHER
from littoral.preparation import Input
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.factory.checks import check_recipe
from littoral_cloud.factory.progress import ProductionProgress, Share
from littoral_cloud.packaging.package import Bench, Packaged, candidates_from
from littoral_cloud.recipes.recipe import (
    Production,
    StudentRecipe,
    TeacherRecipe,
    asked_for,
    schedule_of,
    stages,
    trained_teachers,
)
from littoral_cloud.teachers.logits import CachedLogits
from littoral_cloud.teachers.teacher import Ensemble, Teacher, ready_teacher
from littoral_cloud.training.augmentation import Augment
from littoral_cloud.training.preparation import input_of
from littoral_cloud.training.resume import Kept, StoppableCheckpoints, Stopped, Tell, tell_nobody
from littoral_cloud.training.schedule import Progress, Schedule, no_progress
from littoral_cloud.training.train import Trained, accuracy_of, taught, train_teacher
from littoral_cloud.training.trainer import Trainer


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """All that came of one recipe. `packaged` is in the order of the recipe's students and their variants."""

    production: Production
    bench: Bench
    teacher: Teacher | None
    teacher_accuracy: float  # on the test split; a fraction; 0 where there is no teacher, or it was given
    students: tuple[Trained, ...]  # after their methods
    packaged: tuple[Packaged, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TaughtStudents:
    """The networks that came of a recipe."""

    teacher: Teacher | None
    teacher_accuracy: float  # on the test split; a fraction; 0 where there is no teacher, or it was given
    students: tuple[Trained, ...]  # after their methods


def make_students(
    dataset: Dataset,
    recipe: Production,
    *,
    kept: Kept | None = None,
    progress: Share = lambda _: None,
    tell: Tell = tell_nobody,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.perf_counter,
    teacher: Teacher | None = None,
) -> Made:
    """Carries out a recipe. The same recipe, data and machine give the same artifacts, byte for byte, stopped in between or not.

    The teacher is asked once for each copy of the images, before the students begin; all of them learn from those answers.
    Students are trained `recipe.at_once` at a time, each in a thread of one torch thread: on small batches torch leaves the
    interpreter free most of the time, and a second thread within a step costs more than it brings.

    Args:
        kept: None: nothing is kept, and answers lie in a temporary folder.
        progress: called from several threads, one after another.
        tell: told where it goes on, and what it will put on the disk.
        stop: set it, and training ends by Stopped at its next step, with a checkpoint there. A student that fails sets it too,
            so that the others do not go on for hours before that is said.
        teacher: one that is ready, in place of the recipe's.

    Raises:
        BadInput: the recipe is wrong, or does not fit this data set. Stopped. NoSpace: no room for the teacher's answers.
        TrainingDiverged, RuntimeFailure: see train_teacher, distil, candidates_from; what a teacher or a method raises.
    """
    whole = ProductionProgress(recipe, len(dataset.train_y), progress, stop, keeps=kept is not None)
    learnt = _learnt(dataset, recipe, kept, whole, tell, clock, teacher)
    bench = Bench.of(dataset)
    packaged = package_all(recipe, bench, learnt.teacher, learnt.students, whole.artifact)
    progress(1.0)
    return Made(recipe, bench, learnt.teacher, learnt.teacher_accuracy, learnt.students, packaged)


def teach_students(
    dataset: Dataset,
    recipe: Production,
    *,
    kept: Kept | None = None,
    progress: Share = lambda _: None,
    steps: Progress = no_progress,
    tell: Tell = tell_nobody,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.perf_counter,
    teacher: Teacher | None = None,
) -> TaughtStudents:
    """The networks of a recipe, without exporting them: see make_students. `steps` gets each step, from several threads."""
    whole = ProductionProgress(recipe, len(dataset.train_y), progress, stop, keeps=kept is not None, steps=steps)
    return _learnt(dataset, recipe, kept, whole, tell, clock, teacher)


def ready_for(
    dataset: Dataset,
    recipe: Production,
    *,
    kept: Kept | None = None,
    tell: Tell = tell_nobody,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Teacher | None:
    """The teacher of a recipe, trained or loaded, for several calls of make_students, and as they raise; None: it has none."""
    whole = ProductionProgress(recipe, len(dataset.train_y), lambda _: None, stop, keeps=kept is not None)
    checkpoints = StoppableCheckpoints.of(kept, whole.stop, tell) if kept else None
    with ExitStack() as stack:
        if checkpoints:
            stack.callback(checkpoints.close)
        return _Work(dataset, recipe, Path(), checkpoints, whole, tell, clock, input_of(dataset)).teacher()


def _learnt(
    dataset: Dataset,
    recipe: Production,
    kept: Kept | None,
    whole: ProductionProgress,
    tell: Tell,
    clock: Callable[[], float],
    given: Teacher | None,
) -> TaughtStudents:
    check_recipe(recipe, dataset)
    checkpoints = StoppableCheckpoints.of(kept, whole.stop, tell) if kept else None
    with ExitStack() as stack:
        if checkpoints:
            stack.callback(checkpoints.close)
        folder = kept.answers if kept else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="littoral-answers-")))
        work = _Work(dataset, recipe, folder, checkpoints, whole, tell, clock, input_of(dataset))
        teacher = given or work.teacher()
        accuracy = work.judged(teacher) if teacher and given is None else 0.0
        return TaughtStudents(teacher, accuracy, work.students(work.answers(teacher) if teacher else {}))


def answers_bytes(recipe: Production, dataset: Dataset) -> int:
    """What the teacher's answers take on the disk."""
    return len(asked_for(recipe)) * len(dataset.train_y) * dataset.classes * 4 if recipe.teacher else 0


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """One call of `make_students`."""

    dataset: Dataset
    recipe: Production
    folder: Path  # of the teacher's answers
    checkpoints: StoppableCheckpoints | None
    whole: ProductionProgress
    tell: Tell
    clock: Callable[[], float]
    input: Input
    _answers: dict[Augment | None, CachedLogits] = field(default_factory=dict)

    def teacher(self) -> Teacher | None:
        return ready_teacher(self.recipe.teacher, self.dataset, self._train) if self.recipe.teacher else None

    def judged(self, teacher: Teacher) -> float:
        accuracy = accuracy_of(teacher.logits(self.dataset.test_x), self.dataset.test_y)
        if accuracy < 2 / self.dataset.classes and not trained_teachers(self.recipe.teacher):
            self.tell(f"{teacher.name}: right on {accuracy:.1%} of the test split; are its classes in the order of the labels?")
        return accuracy

    def answers(self, teacher: Teacher) -> Mapping[Augment | None, CachedLogits]:
        """The teacher's answers for every copy that a student will be taught on, made now where they are not on the disk."""
        wanted: dict[Augment | None, list[int]] = {}
        for augment, copy in asked_for(self.recipe, taught=True):
            wanted.setdefault(augment, []).append(copy)
        made = {a: CachedLogits(teacher, self.dataset, a, self.folder, self.whole.answered) for a in wanted}
        for augment, copies in wanted.items():
            answers = made[augment]
            if missing := answers.missing(copies):
                size = len(missing) * answers.copy_bytes
                self.tell(f"{teacher.name}: answers {len(missing)} of {len(copies)} copies, {size:,} bytes on the disk")
            answers.make(copies)
        return made

    def students(self, answers: Mapping[Augment | None, CachedLogits]) -> tuple[Trained, ...]:
        """In the recipe's order. Raises the first failure; the others are stopped by it."""
        with ThreadPoolExecutor(self.recipe.at_once, "student") as pool:
            # The longest first, so that none is left alone at the end.
            ranked = sorted(self.recipe.students, key=lambda s: -s.epochs * len(self.dataset.train_y))
            futures = {student.name: pool.submit(self._make, student, answers) for student in ranked}
            try:
                wait(futures.values(), return_when=FIRST_EXCEPTION)
                if failed := _failure(futures.values()):
                    raise failed
                return tuple(futures[student.name].result() for student in self.recipe.students)
            except BaseException:
                self.whole.stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _train(self, name: str, plan: TeacherRecipe) -> Trained:
        trained = train_teacher(
            self.dataset,
            plan.architecture,
            epochs=plan.epochs,
            seed=plan.seed,
            name=name,
            schedule=plan.schedule,
            threads=plan.threads,
            checkpoints=self.checkpoints,
            progress=self.whole.step,
            clock=self.clock,
        )
        self.whole.trained(name)
        return trained

    def _make(self, plan: StudentRecipe, answers: Mapping[Augment | None, CachedLogits]) -> Trained:
        """One student: taught, then each method in its turn."""
        names = stages(plan)
        trainer = self._trainer(plan, answers, plan.schedule)
        student = taught(trainer, plan.architecture, name=plan.name, epochs=plan.epochs, schedule=plan.schedule, seed=plan.seed)
        self.whole.trained(plan.name)
        for name, method in zip(names[1:], plan.methods, strict=True):
            try:
                changed = method.apply(student, self._trainer(plan, answers, schedule_of(method, plan)))
            except BadInput as error:
                raise BadInput(f"student {plan.name}: {error.message}", hint=error.hint) from error
            student = replace(changed, name=name)  # so that the next one's checkpoint has a name of its own
            self.whole.trained(name)
        return student

    def _trainer(self, plan: StudentRecipe, answers: Mapping[Augment | None, CachedLogits], schedule: Schedule) -> Trainer:
        return Trainer(
            self.dataset,
            answers.get(schedule.augment),
            plan.alpha,
            plan.beta,
            plan.temperature,
            input=self.input,
            threads=plan.threads,
            checkpoints=self.checkpoints,
            progress=self.whole.step,
            clock=self.clock,
        )


def _failure(futures: Iterable[Future[Trained]]) -> BaseException | None:
    """Of several, the one that made the others stop."""
    raised = [f.exception() for f in futures if f.done() and not f.cancelled()]
    found = [error for error in raised if error is not None]
    return next((error for error in found if not isinstance(error, Stopped)), found[0] if found else None)


def package_all(
    recipe: Production, bench: Bench, teacher: Teacher | None, students: Sequence[Trained], told: Callable[[str], None]
) -> tuple[Packaged, ...]:
    packaged: list[Packaged] = []
    members = [member.digest for member in teacher.members] if isinstance(teacher, Ensemble) else []
    for plan, student in zip(recipe.students, students, strict=True):
        packaged += candidates_from(
            student.module,
            student.spec,
            bench.dataset,
            plan.variants,
            model=recipe.model,
            name=plan.name,
            bench=bench,
            parents=(teacher.digest, *members) if teacher else (),
            roles=(TEACHER, *(MEMBER for _ in members)) if teacher else (),
            recipe={"student": plan.resolved(), "teacher": recipe.teacher.resolved() if recipe.teacher else None},
            options=plan.export,
            progress=told,
        )
    return tuple(packaged)
