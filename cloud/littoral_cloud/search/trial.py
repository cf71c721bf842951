"""One run of a trial: the ordinary factory makes its recipe, and the exported artifact is measured."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from littoral.errors import BadData
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.factory.production import Execution, Made, make_students, teach_students
from littoral_cloud.packaging.latency import compare
from littoral_cloud.packaging.macs import macs_of
from littoral_cloud.packaging.package import Bench, candidates_from, exported_of
from littoral_cloud.recipes.fitted import MANY
from littoral_cloud.recipes.recipe import Production, StudentRecipe
from littoral_cloud.search.recipe import SearchRecipe
from littoral_cloud.search.space import START
from littoral_cloud.search.state import TrialOutcome, TrialRun
from littoral_cloud.teachers.teacher import Teacher
from littoral_cloud.training.resume import Tell, WorkFolders
from littoral_cloud.training.schedule import ignore
from littoral_cloud.training.train import Trained

_ROUNDS, _EACH = 9, 100  # of inferences, for the latency


@dataclass(frozen=True, slots=True, eq=False)
class SearchData:
    """The data of a search: examples to train on and others to judge by, both from the training split."""

    dataset: Dataset  # without the held-out examples; its test split is the source's, and chooses nothing
    bench: Bench  # over the held-out examples
    source: Dataset  # all of it

    @classmethod
    def of(cls, source: Dataset, fraction: float) -> SearchData:
        """Holds back every n-th training example of each class, in the order of the source: this fraction.

        Raises BadData where a class has too few.
        """
        try:
            dataset, judged = source.judged_on_every(max(2, round(1 / fraction)))
        except BadData as error:
            raise BadData(
                f"{source.name}: a search holds back training images of every class, and one has too few: {error.message}",
                hint="two of each class are the least, some hundred are better",
            ) from error
        return cls(dataset, Bench.of(judged), source)


def name_of(run: TrialRun, production: Production) -> str:
    """The name of a trial's student: the student that it varies, and the number of the trial."""
    return f"{production.students[0].name[:40]}-{run.number}"


def production_of(recipe: SearchRecipe, run: TrialRun) -> Production:
    """The recipe of a run."""
    plain = recipe.production(run.params, rung=run.rung)
    return recipe.production(run.params, rung=run.rung, name=name_of(run, plain))


def artifact_of(recipe: SearchRecipe, run: TrialRun, data: SearchData) -> str:
    """The name of the artifact that `made` makes of a run."""
    if START in run.params and again(recipe, data):
        return str(run.params[START])
    [student] = production_of(recipe, run).students
    return f"{student.name}-{student.variants[0]}"


def again(recipe: SearchRecipe, data: SearchData) -> bool:
    """Whether `made` trains all students again, on the whole training split."""
    return recipe.start is not None and len(data.source.train_y) < MANY


def tried(
    recipe: SearchRecipe,
    run: TrialRun,
    data: SearchData,
    teacher: Teacher | None,
    folders: WorkFolders,
    *,
    tell: Tell = ignore,
    stop: threading.Event,
    clock: Callable[[], float],
) -> TrialOutcome:
    """Trains a run and measures its student on the held-out examples. Raises what make_students raises."""
    production = production_of(recipe, run)
    how = Execution(folders=folders, tell=tell, stop=stop, clock=clock, teacher=teacher)
    learnt = teach_students(data.dataset, production, how)
    [student], [plan] = learnt.students, production.students
    return measured(student, plan, data, production.model)


def measured(student: Trained, plan: StudentRecipe, data: SearchData, model: str) -> TrialOutcome:
    """Exports a student in the one variant of its recipe, and runs it on the held-out examples."""
    [packaged] = candidates_from(student, data.bench, plan.variants, model=model, name=plan.name, options=plan.export)
    manifest = packaged.manifest
    label, worst = manifest.worst_class or ("", 0.0)
    [latency] = compare({manifest.name: exported_of(packaged)}, data.bench.test[:_EACH], rounds=_ROUNDS, each=_EACH).values()
    return TrialOutcome(
        accuracy=manifest.accuracy,
        worst_class=worst,
        worst_label=label,
        transfer_bytes=manifest.transfer_bytes,
        artifact_bytes=manifest.artifact_bytes,
        macs=macs_of(student.module, data.dataset.shape),
        p50_ms=latency.p50_ms,
        p95_ms=latency.p95_ms,
        parameters=manifest.parameters,
        runtime=manifest.runtime,
        weights=student.digest,
        seconds=student.seconds,
    )


def made(
    recipe: SearchRecipe,
    runs: Sequence[TrialRun],
    data: SearchData,
    teacher: Teacher | None,
    folders: WorkFolders,
    *,
    tell: Tell = ignore,
    given: bool = False,
) -> Made:
    """The students of these trials, measured on the test split; from their checkpoints where this machine has them.

    Args:
        given: the teacher came from outside, not from the recipe.
    """
    if recipe.start is not None and again(recipe, data):  # the students that the search began with, then those of the trials
        drawn = [production_of(recipe, run).students[0] for run in runs if START not in run.params]
        whole = replace(recipe.start, students=(*recipe.start.students, *drawn), at_once=1)
        return make_students(data.source, whole, Execution(folders=folders, tell=tell, teacher=teacher if given else None))
    single = [production_of(recipe, run) for run in runs]
    together = replace(single[0], students=tuple(one.students[0] for one in single), at_once=1)
    return make_students(data.dataset, together, Execution(folders=folders, tell=tell, teacher=teacher))
