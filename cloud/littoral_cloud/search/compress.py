"""`compress` searches for the best students of a data set inside a budget. The command line and notebooks call this function.

    found = compress(teacher, dataset, "artifact<=20KB,p95<=2ms")
    for student in found.students():
        print(student.manifest.name, student.manifest.accuracy, student.manifest.transfer_bytes)

It runs one worker (worker.py) until there is nothing left to do; other processes may work on the same search.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from torch import nn

from littoral.budget import Budget, excesses
from littoral.errors import NoFit
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.data.sources import load_dataset
from littoral_cloud.factory.baseline import Baseline, baseline_of
from littoral_cloud.factory.production import Made
from littoral_cloud.packaging.package import Packaged
from littoral_cloud.search.choose_here import figures_of
from littoral_cloud.search.control import SearchControl
from littoral_cloud.search.recipe import DEFAULT, SearchRecipe, with_trials
from littoral_cloud.search.starting import search_for
from littoral_cloud.search.state import TrialRun, check_budget, distinct, finished, fitting, front
from littoral_cloud.search.store import FolderStore, MemoryStore, SearchStore
from littoral_cloud.search.study import Study
from littoral_cloud.search.trial import SearchData, again, artifact_of, made
from littoral_cloud.search.worker import Reason, Worker
from littoral_cloud.teachers.teacher import NetworkTeacher, Teacher
from littoral_cloud.training.preparation import input_of
from littoral_cloud.training.resume import WorkFolders
from littoral_cloud.training.train import Trained


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search has found. Accuracies of trials are of held-out training examples, those of `students` of the test split."""

    name: str
    recipe: SearchRecipe
    budget: Budget | None
    runs: tuple[TrialRun, ...]
    reason: Reason  # why it ended
    seconds: float  # of this call
    _worker: Worker = field(repr=False)

    @property
    def trials(self) -> list[TrialRun]:
        """The runs on the last rung that are done, by number of the trial."""
        return finished(self.runs, self.recipe.settings)

    @property
    def front(self) -> list[TrialRun]:
        """The trials that no other one dominates; the smallest first."""
        return front(self.runs, self.recipe.settings)

    @property
    def best(self) -> TrialRun | None:
        """The most accurate trial inside the budget; without a budget, of all. None: there is none."""
        try:
            return fitting(self.runs, self.recipe.settings, self.budget or Budget())
        except NoFit:
            return None

    def check(self) -> None:
        """Raises NoFit where no trial is inside the budget; names the limit that binds and the nearest trial."""
        fitting(self.runs, self.recipe.settings, self.budget or Budget())

    def made(self, runs: Sequence[TrialRun] | None = None) -> Made:
        """The networks and artifacts of these trials; None: of the front. Raises NoFit where there is none.

        A search fitted to fewer than some ten thousand examples trains them again on the whole training split, for there the
        held-out examples matter and training is short. The students that it began with, those inside the budget, come first.
        """
        chosen = list(self.front if runs is None else runs)
        if not chosen:
            raise NoFit("no trial was trained to the end", hint="give the search more trials or more time")
        worker = self._worker
        given = "teacher" not in self.recipe.body
        found = made(self.recipe, chosen, worker.data, worker.teacher, worker.folders, tell=worker.control.tell, given=given)
        names, budget = {self.artifact_of(run) for run in chosen}, self.budget or Budget()
        packaged = [p for p in found.packaged if p.manifest.name in names or not excesses(figures_of(p), budget)]
        return replace(found, packaged=tuple(packaged))

    def worth_making(self, runs: Sequence[TrialRun]) -> list[TrialRun]:
        """The trials that `made` shall make: where it trains them again, those that gain something, and the best."""
        if not again(self.recipe, self._worker.data):
            return list(runs)
        gaining = distinct(runs, self.recipe.settings)
        return gaining + [run for run in runs if run == self.best and run not in gaining]

    def artifact_of(self, run: TrialRun) -> str:
        """The name of the artifact that `made` makes of this run."""
        return artifact_of(self.recipe, run, self._worker.data)

    @cached_property
    def baseline(self) -> Baseline:
        """The plain baseline that the trials must beat, on the held-out examples."""
        return baseline_of(self._worker.data.bench.dataset)

    def students(self, runs: Sequence[TrialRun] | None = None) -> tuple[Packaged, ...]:
        """The artifacts of `made`, each with its manifest, measured on the test split."""
        return self.made(runs).packaged


def compress(
    model: nn.Module | Teacher | None,
    data: Dataset | Path | str,
    budget: Budget | str = "",
    *,
    recipe: SearchRecipe | Path | str = DEFAULT,
    trials: int | None = None,
    store: SearchStore | None = None,
    folder: Path | None = None,
    control: SearchControl | None = None,
) -> SearchResult:
    """Searches for students that are accurate, small and fast, and returns the front of them.

    One call at a time in a process, because torch exports one network at a time; other processes may share the search.

    Args:
        model: the teacher: a torch network that takes prepared inputs (n, C, H, W) float32, see
            littoral_cloud.training.preparation.input_of, and returns logits (n, classes); or a Teacher; None: the recipe's.
        data: a data set, or the path to one.
        budget: as littoral.budget.Budget.parse reads it. The search ends at a student inside it when `patience` batches have
            found no better one. "": it makes all trials.
        recipe: what to search; see docs/search.md. A name: that search, fitted to the data.
        trials: how many, instead of the recipe's number.
        store: keeps the search; None: `folder` does, or memory without one.
        folder: for checkpoints and teachers' answers; None: a temporary one, and a search that was killed begins anew.
        control: how the caller follows and stops it.

    Raises:
        BadInput, NotFound, BadData: recipe, budget or data are wrong; names what. Unavailable: the store does not answer; the
        same call continues the search. All that the teacher raises.
    """
    control = control or SearchControl()
    began = control.clock()
    limits = Budget.parse(budget) if isinstance(budget, str) else budget
    check_budget(limits)
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    plan = with_trials(recipe if isinstance(recipe, SearchRecipe) else search_for(recipe, dataset), trials)
    examples = SearchData.of(dataset, plan.settings.held_out)
    plan.check(examples.dataset)
    given = given_teacher(model, examples.dataset)
    if given is not None:
        plan = plan.without_teacher()
    name = plan.name(dataset.digest, given.digest if given else "")
    if store is None:
        store = FolderStore(folder / name) if folder else MemoryStore()
    place = folder or Path(tempfile.mkdtemp(prefix="littoral-search-"))
    folders = WorkFolders(place / name / "training", place / "answers", control.every)
    folders.make_writable("search", hint="name another folder")
    within = limits if str(limits) else None
    worker = Worker(plan, examples, folders, Study(name, plan, store), store, within, control, control.deadline(began))
    if folder is None:  # the students of the result need it
        weakref.finalize(worker, shutil.rmtree, place, True)
    reason = worker.run(given)
    return SearchResult(name, plan, within, tuple(worker.study.runs()), reason, control.clock() - began, worker)


def given_teacher(model: nn.Module | Teacher | None, dataset: Dataset) -> Teacher | None:
    """A torch network as a Teacher."""
    if not isinstance(model, nn.Module):
        return model
    return NetworkTeacher.of(Trained.of("given", model, {}, input_of(dataset), 0.0))
