"""Carries out a recipe: data set -> plan -> teacher -> its logits -> students -> methods -> measured artifacts."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from littoral.errors import BadInput
from littoral.lineage import MEMBER, TEACHER
from littoral.preparation import Input
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.factory.checks import check_plan
from littoral_cloud.factory.plan import ProductionPlan, Stage, StudentPlan, plan_of
from littoral_cloud.factory.progress import ProductionProgress, Share
from littoral_cloud.packaging.package import Bench, Packaged, Provenance, candidates_from
from littoral_cloud.recipes.recipe import Production, StudentRecipe, TeacherRecipe
from littoral_cloud.teachers.logits import CachedLogits
from littoral_cloud.teachers.teacher import Ensemble, Teacher, ready_teacher
from littoral_cloud.training.augmentation import Augment
from littoral_cloud.training.preparation import input_of
from littoral_cloud.training.resume import StoppableCheckpoints, Stopped, Tell, WorkFolders
from littoral_cloud.training.schedule import Progress, ignore
from littoral_cloud.training.train import Trained, accuracy_of, taught, train_teacher
from littoral_cloud.training.trainer import Trainer

LogitsOfCopies = Mapping[Augment | None, CachedLogits]


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


@dataclass(frozen=True, slots=True, eq=False)
class Execution:
    """How a recipe is carried out. Nothing of it decides a weight.

    folders: those of checkpoints and of the teacher's logits. None: no checkpoint, and a temporary folder for the logits.
    progress: gets the share that is done, 0 to 1, from several threads, one call at a time.
    steps: gets each step of each training, from several threads.
    tell: gets a line where a training goes on, and one for what the logits take on the disk.
    stop: set it, and training ends by Stopped at its next step, with a checkpoint there. A student that fails sets it too, so
        that the others do not go on for hours.
    teacher: one that is ready, in place of the recipe's.
    """

    folders: WorkFolders | None = None
    progress: Share = ignore
    steps: Progress = ignore
    tell: Tell = ignore
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = time.perf_counter
    teacher: Teacher | None = None


def make_students(dataset: Dataset, recipe: Production, how: Execution | None = None) -> Made:
    """Carries out a recipe. The same recipe, data and machine give the same artifacts, byte for byte, stopped in between or not.

    The recipe becomes a plan, the plan a teacher, its logits, students, and of each student artifacts. The teacher answers each
    copy of the images once, before the students begin; all of them learn from those logits. Students are trained
    `recipe.at_once` at a time, each in a thread of one torch thread: on small batches torch leaves the interpreter free most of
    the time, and a second thread within a step costs more than it brings.

    Raises:
        BadInput: the recipe is wrong, or does not fit this data set. Stopped. NoSpace: no room for the teacher's logits.
        TrainingDiverged, RuntimeFailure: see train_teacher, distil, candidates_from; what a teacher or a method raises.
    """
    how = how or Execution()
    with _work(dataset, recipe, how) as work:
        taught = work.taught()
    bench = Bench.of(dataset)
    packaged = package_all(recipe, bench, taught.teacher, taught.students, work.progress.artifact)
    how.progress(1.0)
    return Made(recipe, bench, taught.teacher, taught.teacher_accuracy, taught.students, packaged)


def teach_students(dataset: Dataset, recipe: Production, how: Execution | None = None) -> TaughtStudents:
    """The networks of a recipe, without exporting them: see make_students."""
    with _work(dataset, recipe, how or Execution()) as work:
        return work.taught()


def ready_for(dataset: Dataset, recipe: Production, how: Execution | None = None) -> Teacher | None:
    """The teacher of a recipe, trained or loaded, for several calls of make_students, and as they raise; None: it has none."""
    with _work(dataset, recipe, how or Execution()) as work:
        return work.teacher()


@contextmanager
def _work(dataset: Dataset, recipe: Production, how: Execution) -> Iterator[_Work]:
    plan = plan_of(recipe, dataset)
    progress = ProductionProgress(plan, how.progress, how.steps, how.stop, stops=how.folders is None)
    with ExitStack() as stack:
        checkpoints = StoppableCheckpoints.of(how.folders, how.stop, how.tell) if how.folders else None
        if checkpoints:
            stack.callback(checkpoints.close)
        if how.folders:
            folder = how.folders.answers
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="littoral-logits-")))
        yield _Work(dataset, plan, how, progress, folder, checkpoints, input_of(dataset))


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """One call of `make_students`: the plan, and what it is carried out with."""

    dataset: Dataset
    plan: ProductionPlan
    how: Execution
    progress: ProductionProgress
    folder: Path  # of the teacher's logits
    checkpoints: StoppableCheckpoints | None
    input: Input

    def taught(self) -> TaughtStudents:
        check_plan(self.plan, self.dataset)
        teacher = self.how.teacher or self.teacher()
        accuracy = self.judged(teacher) if teacher and self.how.teacher is None else 0.0
        return TaughtStudents(teacher, accuracy, self.students(self.logits(teacher) if teacher else {}))

    def teacher(self) -> Teacher | None:
        recipe = self.plan.recipe.teacher
        return ready_teacher(recipe, self.dataset, self._train) if recipe else None

    def judged(self, teacher: Teacher) -> float:
        accuracy = accuracy_of(teacher.logits(self.dataset.test_x), self.dataset.test_y)
        if accuracy < 2 / self.dataset.classes and not self.plan.teachers:
            order = "are its classes in the order of the labels?"
            self.how.tell(f"{teacher.name}: right on {accuracy:.1%} of the test split; {order}")
        return accuracy

    def logits(self, teacher: Teacher) -> LogitsOfCopies:
        """The teacher's logits of every copy that a student learns from, made now where they are not on the disk."""
        numbers: dict[Augment | None, list[int]] = {}
        for augment, copy in self.plan.copies:
            numbers.setdefault(augment, []).append(copy)
        made = {a: CachedLogits(teacher, self.dataset, a, self.folder, self.progress.answered) for a in numbers}
        for augment, copies in numbers.items():
            cached = made[augment]
            if missing := cached.missing(copies):
                size = len(missing) * cached.copy_bytes
                self.how.tell(f"{teacher.name}: answers {len(missing)} of {len(copies)} copies, {size:,} bytes on the disk")
            cached.make(copies)
        return made

    def students(self, logits: LogitsOfCopies) -> tuple[Trained, ...]:
        """In the recipe's order. Raises the first failure; the others are stopped by it."""
        with ThreadPoolExecutor(self.plan.recipe.at_once, "student") as pool:
            # The longest first, so that none is left alone at the end.
            ranked = sorted(self.plan.students, key=lambda student: -student.recipe.epochs)
            futures = {student.recipe.name: pool.submit(self._make, student, logits) for student in ranked}
            try:
                wait(futures.values(), return_when=FIRST_EXCEPTION)
                if failed := _failure(futures.values()):
                    raise failed
                return tuple(futures[student.recipe.name].result() for student in self.plan.students)
            except BaseException:
                self.how.stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _train(self, name: str, recipe: TeacherRecipe) -> Trained:
        trained = train_teacher(
            self.dataset,
            recipe.architecture,
            epochs=recipe.epochs,
            seed=recipe.seed,
            name=name,
            schedule=recipe.schedule,
            threads=recipe.threads,
            checkpoints=self.checkpoints,
            progress=self.progress.step,
            clock=self.how.clock,
        )
        self.progress.trained(name)
        return trained

    def _make(self, plan: StudentPlan, logits: LogitsOfCopies) -> Trained:
        """One student: taught, then each method in its turn."""
        recipe, stage = plan.recipe, plan.taught
        trainer = self._trainer(recipe, logits, stage)
        student = taught(
            trainer, recipe.architecture, name=stage.name, epochs=recipe.epochs, schedule=stage.schedule, seed=recipe.seed
        )
        self.progress.trained(stage.name)
        for stage, method in plan.methods:
            try:
                changed = method.apply(student, self._trainer(recipe, logits, stage))
            except BadInput as error:
                raise BadInput(f"student {recipe.name}: {error.message}", hint=error.hint) from error
            student = replace(changed, name=stage.name)  # so that the next one's checkpoint has a name of its own
            self.progress.trained(stage.name)
        return student

    def _trainer(self, recipe: StudentRecipe, logits: LogitsOfCopies, stage: Stage) -> Trainer:
        return Trainer(
            self.dataset,
            logits.get(stage.schedule.augment),
            recipe.alpha,
            recipe.beta,
            recipe.temperature,
            input=self.input,
            threads=recipe.threads,
            checkpoints=self.checkpoints,
            progress=self.progress.step,
            clock=self.how.clock,
        )


def _failure(futures: Iterable[Future[Trained]]) -> BaseException | None:
    """Of several, the one that made the others stop."""
    raised = [f.exception() for f in futures if f.done() and not f.cancelled()]
    found = [error for error in raised if error is not None]
    return next((error for error in found if not isinstance(error, Stopped)), found[0] if found else None)


def package_all(
    recipe: Production, bench: Bench, teacher: Teacher | None, students: Sequence[Trained], progress: Callable[[str], None]
) -> tuple[Packaged, ...]:
    """Each student in its variants, measured. `progress` gets the name of each artifact before it is made."""
    packaged: list[Packaged] = []
    members = [member.digest for member in teacher.members] if isinstance(teacher, Ensemble) else []
    parents = (teacher.digest, *members) if teacher else ()
    roles = (TEACHER, *(MEMBER for _ in members)) if teacher else ()
    for plan, student in zip(recipe.students, students, strict=True):
        how = {"student": plan.resolved(), "teacher": recipe.teacher.resolved() if recipe.teacher else None}
        packaged += candidates_from(
            student,
            bench,
            plan.variants,
            model=recipe.model,
            name=plan.name,
            provenance=Provenance(parents, roles, how),
            options=plan.export,
            progress=progress,
        )
    return tuple(packaged)
