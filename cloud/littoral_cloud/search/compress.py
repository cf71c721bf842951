"""`compress`: the best students of a data set for a budget, found by trying. The command line and notebooks call this function.

    found = compress(teacher, dataset, "artifact<=20KB,p95<=2ms")
    for student in found.students():
        print(student.manifest.name, student.manifest.accuracy, student.manifest.transfer_bytes)

A worker (worker.py) goes on until there is nothing left to do, beside others where there are any.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from torch import nn

from littoral.budget import Budget, Measured, excesses
from littoral.errors import NoFit
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.data.sources import load_dataset
from littoral_cloud.factory.baseline import Baseline, baseline_of
from littoral_cloud.factory.production import Made
from littoral_cloud.packaging.package import Packaged
from littoral_cloud.search import lease
from littoral_cloud.search.recipe import DEFAULT, SearchRecipe, with_trials
from littoral_cloud.search.starting import search_for
from littoral_cloud.search.state import (
    TrialRun,
    check_budget,
    distinct,
    finished,
    fitting,
    front,
)
from littoral_cloud.search.store import FolderStore, MemoryStore, SearchStore
from littoral_cloud.search.study import Study
from littoral_cloud.search.trial import SearchData, again, artifact_of, made
from littoral_cloud.search.worker import Reason, Seen, Worker
from littoral_cloud.teachers.teacher import NetworkTeacher, Teacher
from littoral_cloud.training.preparation import input_of
from littoral_cloud.training.resume import Kept, Tell, made_writable, tell_nobody
from littoral_cloud.training.train import Trained


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search has come to. Accuracies of trials are of held-out training images; those of `students` of the test split."""

    name: str
    recipe: SearchRecipe
    budget: Budget | None
    runs: tuple[TrialRun, ...]
    reason: Reason  # why it ended
    seconds: float  # of this call
    _work: Worker = field(repr=False)

    @property
    def trials(self) -> list[TrialRun]:
        """Those that were trained to the end, by number."""
        return finished(self.runs, self.recipe.settings)

    @property
    def front(self) -> list[TrialRun]:
        """Of these, those that no other one is better than in everything; the smallest first."""
        return front(self.runs, self.recipe.settings)

    @property
    def best(self) -> TrialRun | None:
        """The most accurate trial inside the budget; without one, of all. None: no trial was trained to the end."""
        try:
            return fitting(self.runs, self.recipe.settings, self.budget or Budget())
        except NoFit:
            return None

    def check(self) -> None:
        """Raises NoFit where nothing is inside the budget: says which limit binds, and what comes nearest."""
        fitting(self.runs, self.recipe.settings, self.budget or Budget())

    def made(self, runs: Sequence[TrialRun] | None = None) -> Made:
        """The networks and artifacts of these trials; of the front where none are named. Raises NoFit where there is none.

        Of a search that was fitted to less than some ten thousand examples, all students that it began with come first, as
        `train` makes them (of these, what is inside the budget), and everything is taught again on the whole training split:
        what was held out is worth having, and few examples are soon taught.
        """
        chosen = list(self.front if runs is None else runs)
        if not chosen:
            raise NoFit("no trial was trained to the end", hint="give the search more trials or more time")
        work = self._work
        given = "teacher" not in self.recipe.body
        found = made(self.recipe, chosen, work.held, work.teacher, work.kept, tell=work.tell, given=given)
        names = {self.artifact_of(run) for run in chosen}
        kept = tuple(p for p in found.packaged if p.manifest.name in names or self._fits(p))
        return replace(found, packaged=kept)

    def worth_making(self, runs: Sequence[TrialRun]) -> list[TrialRun]:
        """Of these trials, where all are taught again, those that are worth that beside each other, and the best."""
        if not again(self.recipe, self._work.held):
            return list(runs)
        kept = distinct(runs, self.recipe.settings)
        return kept + [run for run in runs if run == self.best and run not in kept]

    def _fits(self, packaged: Packaged) -> bool:
        """Whether something that was not asked for by its trial is inside the budget, as far as its manifest says."""
        manifest = packaged.manifest
        label, worst = manifest.worst_class or ("", None)
        size = manifest.artifact_bytes
        said = Measured("", manifest.name, manifest.runtime, manifest.accuracy, size, 0.0, 0, 1, None, worst, label)
        return not excesses(said, self.budget or Budget())

    def artifact_of(self, run: TrialRun) -> str:
        """The name of the artifact that `made` makes of a run."""
        return artifact_of(self.recipe, run, self._work.held)

    @cached_property
    def baseline(self) -> Baseline:
        """What the trials must be better than: on the held-out examples, as they are."""
        return baseline_of(self._work.held.bench.dataset)

    def students(self, runs: Sequence[TrialRun] | None = None) -> tuple[Packaged, ...]:
        """As `made`: the artifacts alone, each with its manifest, measured on the test split."""
        return self.made(runs).packaged


def compress(
    model: nn.Module | Teacher | None,
    data: Dataset | Path | str,
    budget: Budget | str = "",
    *,
    recipe: SearchRecipe | Path | str = DEFAULT,
    trials: int | None = None,
    time_budget_s: float | None = None,
    releasing: bool = False,
    store: SearchStore | None = None,
    folder: Path | None = None,
    watch: Seen = lambda _: None,
    tell: Tell = tell_nobody,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.perf_counter,
    lease_s: float = lease.TTL_S,
    every: int = 500,
) -> SearchResult:
    """Searches for students that are accurate, small and fast, and gives the front of them.

    One call at a time in a process, for torch exports one network at a time; others share the search from processes of theirs.

    Args:
        model: whom they learn from: a torch network that takes prepared inputs (n, C, H, W) float32, as
            littoral_cloud.training.preparation.input_of says, and gives logits (n, classes); or a Teacher; None: the recipe's
            teacher.
        data: a data set, or where one lies.
        budget: as littoral.budget.Budget.parse reads it; the search stops at a student that fits and was not bettered in
            `patience` batches. "": all trials.
        recipe: what is searched: see docs/search.md. A name: that search, fitted to the data.
        trials: how many, in place of the recipe's.
        time_budget_s: seconds after which it stops, with the best so far.
        releasing: of that time, leave so much as it takes to make what was found (see worker.ends).
        store: where the search is kept; None: in `folder`, or in memory where there is none.
        folder: of checkpoints and teachers' answers; None: a temporary one, and a killed search begins anew.
        watch, tell: told what has changed, and what an operator would want to know.
        stop: set it, and the search ends at the next step of training, with a checkpoint there.
        clock: gives seconds.
        lease_s: a worker that says nothing for so long is taken for dead, and its run given to another one.
        every: steps between two checkpoints of one training.

    Raises:
        BadInput, NotFound, BadData: recipe, budget or data are wrong; names what. Unavailable: the store stays away; the same
        call goes on. Whatever the teacher raises.
    """
    began = clock()
    limits = Budget.parse(budget) if isinstance(budget, str) else budget
    check_budget(limits)
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    plan = recipe if isinstance(recipe, SearchRecipe) else search_for(recipe, dataset)
    plan = with_trials(plan, trials)
    held = SearchData.of(dataset, plan.settings.held_out)
    plan.check(held.dataset)
    given = given_teacher(model, held.dataset)
    if given is not None:  # so that no manifest says that students learnt from the recipe's
        plan = replace(plan, body={key: value for key, value in plan.body.items() if key != "teacher"})
    name = plan.name(dataset.digest, given.digest if given else "")
    if store is None:
        store = FolderStore(folder / name) if folder else MemoryStore()
    scratch = None
    if folder is None:
        folder = scratch = Path(tempfile.mkdtemp(prefix="littoral-search-"))
    kept = Kept(folder / name / "training", folder / "answers", every)
    for place in (kept.checkpoints, kept.answers):
        made_writable(place, "search", hint="name another folder")
    deadline = math.inf if time_budget_s is None else began + time_budget_s
    work = Worker(
        plan, held, kept, Study(name, plan, store), store, limits if str(limits) else None,
        stop or threading.Event(), deadline, watch, tell, clock, lease_s, releasing=releasing,
    )  # fmt: skip
    if scratch is not None:  # there for as long as its students may be asked for
        weakref.finalize(work, shutil.rmtree, scratch, True)
    reason = work.run(given)
    return SearchResult(name, plan, work.budget, tuple(work.study.runs()), reason, clock() - began, work)


def given_teacher(model: nn.Module | Teacher | None, dataset: Dataset) -> Teacher | None:
    """A torch network as a teacher; a teacher as it is."""
    if not isinstance(model, nn.Module):
        return model
    return NetworkTeacher.of(Trained.of("given", model, {}, input_of(dataset), 0.0))
