"""`compress`: the best students of a data set for a budget, found by trying. The command line and notebooks call this function.

    found = compress(teacher, dataset, "artifact<=20KB,p95<=2ms")
    for student in found.students():
        print(student.manifest.name, student.manifest.accuracy, student.manifest.transfer_bytes)

Each worker does the same: looks at the journal, finds the next move (board.py) and makes it, until there is none. What a killed
worker was at is entered again once its lease has lapsed, and goes on from its checkpoint where that is at hand.
"""

from __future__ import annotations

import fcntl
import math
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import nn

from cloud.data.dataset import Dataset
from cloud.data.sources import load_dataset
from cloud.factory.lesson import TrainingDiverged
from cloud.factory.package import Packaged
from cloud.factory.preparation import input_of
from cloud.factory.production import Made, ready_for
from cloud.factory.resume import Kept, Stopped, Tell, tell_nobody
from cloud.factory.search import lease
from cloud.factory.search.board import (
    LAPSED,
    Draw,
    End,
    Enter,
    Lose,
    Run,
    Train,
    Wait,
    check_budget,
    finished,
    fitting,
    front,
    next_move,
    seen,
    valid,
)
from cloud.factory.search.draw import draw
from cloud.factory.search.recipe import DEFAULT, SearchRecipe, search_named, with_trials
from cloud.factory.search.store import FolderStore, MemoryStore, SearchStore
from cloud.factory.search.study import Study
from cloud.factory.search.trial import Held, made, tried
from cloud.factory.teachers import NetworkTeacher, Teacher
from cloud.factory.training import Trained
from littoral.budget import Budget
from littoral.errors import BadInput, Conflict, NoFit, RuntimeFailure, unwritten

_POLL_S = 0.5  # between two looks at what other workers are at
Reason = Literal["trials", "fits", "time", "stopped"]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search has come to. Accuracies of trials are of held-out training images; those of `students` of the test split."""

    name: str
    recipe: SearchRecipe
    budget: Budget | None
    runs: tuple[Run, ...]
    reason: Reason  # why it ended: all trials, a student that fits and was not bettered, the time, or it was told to stop
    seconds: float  # of this call
    _work: _Work = field(repr=False)

    @property
    def trials(self) -> list[Run]:
        """Those that were trained to the end, by number."""
        return finished(self.runs, self.recipe.settings)

    @property
    def front(self) -> list[Run]:
        """Of these, those that no other one is better than in everything; the smallest first."""
        return front(self.runs, self.recipe.settings)

    @property
    def best(self) -> Run | None:
        """The most accurate trial inside the budget; without one, of all. None: no trial was trained to the end."""
        try:
            return fitting(self.runs, self.recipe.settings, self.budget or Budget())
        except NoFit:
            return None

    def check(self) -> None:
        """Raises NoFit where nothing is inside the budget: says which limit binds, and what comes nearest."""
        fitting(self.runs, self.recipe.settings, self.budget or Budget())

    def made(self, runs: Sequence[Run] | None = None) -> Made:
        """The networks and artifacts of these trials; of the front where none are named. Raises NotFound where there is none."""
        return self._work.made(list(self.front if runs is None else runs))

    def students(self, runs: Sequence[Run] | None = None) -> tuple[Packaged, ...]:
        """As `made`: the artifacts alone, each with its manifest, measured on the test split."""
        return self.made(runs).packaged


Seen = Callable[[Sequence[Run]], None]
"""Told what the journal holds whenever that has changed."""


def compress(
    model: nn.Module | Teacher | None,
    data: Dataset | Path | str,
    budget: Budget | str = "",
    *,
    recipe: SearchRecipe | Path | str = DEFAULT,
    trials: int | None = None,
    time_budget_s: float | None = None,
    store: SearchStore | None = None,
    folder: Path | None = None,
    watch: Seen = lambda _: None,
    tell: Tell = tell_nobody,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.perf_counter,
    lease_s: float = lease.TTL_S,
    every: int = 500,
) -> Found:
    """Searches for students that are accurate, small and fast, and gives the front of them.

    Args:
        model: whom they learn from: a torch network that takes prepared inputs (n, C, H, W) float32, as
            cloud.factory.preparation.input_of says, and gives logits (n, classes); or a Teacher; None: the recipe's teacher.
        data: a data set, or where one lies.
        budget: as littoral.budget.Budget.parse reads it; the search stops at a student that fits and was not bettered in
            `patience` batches. "": all trials.
        recipe: what is searched: see docs/search.md.
        trials: how many, in place of the recipe's.
        time_budget_s: seconds after which it stops, with the best so far.
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
    plan = recipe if isinstance(recipe, SearchRecipe) else search_named(recipe)
    plan = with_trials(plan, trials)
    limits = Budget.parse(budget) if isinstance(budget, str) else budget
    check_budget(limits)
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    held = Held.of(dataset, plan.settings.held_out)
    plan.check(held.dataset)
    given = given_teacher(model, held.dataset)
    name = plan.name(dataset.digest, given.digest if given else "")
    if store is None:
        store = FolderStore(folder / name) if folder else MemoryStore()
    scratch = None
    if folder is None:
        folder = scratch = Path(tempfile.mkdtemp(prefix="littoral-search-"))
    kept = Kept(folder / name / "training", folder / "answers", every)
    for place in (kept.checkpoints, kept.answers):
        _try(place)
    deadline = math.inf if time_budget_s is None else began + time_budget_s
    work = _Work(
        plan, held, kept, Study(name, plan, store), store, limits if str(limits) else None,
        stop or threading.Event(), deadline, watch, tell, clock, lease_s,
    )  # fmt: skip
    if scratch is not None:  # there for as long as its students may be asked for
        weakref.finalize(work, shutil.rmtree, scratch, True)
    reason = work.run(given)
    return Found(name, plan, work.budget, tuple(work.study.runs()), reason, clock() - began, work)


def _try(folder: Path) -> None:
    """Raises BadInput or NoSpace where nothing can be written there: before the first trial, and not as the fault of each."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritten(f"search: {folder}", error, hint="name another folder") from error


def given_teacher(model: nn.Module | Teacher | None, dataset: Dataset) -> Teacher | None:
    """A torch network as a teacher; a teacher as it is."""
    if not isinstance(model, nn.Module):
        return model
    return NetworkTeacher.of(Trained.of("given", model, {}, input_of(dataset), 0.0))


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Work:
    """One worker's share of a search."""

    recipe: SearchRecipe
    held: Held
    kept: Kept
    study: Study
    store: SearchStore
    budget: Budget | None
    stop: threading.Event
    deadline: float
    watch: Seen
    tell: Tell
    clock: Callable[[], float]
    lease_s: float
    teacher: Teacher | None = None

    def run(self, given: Teacher | None) -> Reason:
        try:
            self.teacher = given or self._ready()
        except Stopped as stopped:
            self.tell(stopped.message)
            return "stopped" if self.stop.is_set() else "time"
        passed: set[int] = set()  # entries that others had first
        shown: object = None
        while True:
            if self.stop.is_set():
                return "stopped"
            if self.clock() >= self.deadline:
                return "time"
            runs = self.study.runs()
            if (now := [(run.id, run.state) for run in runs]) != shown:
                shown = now
                self.watch(runs)
            open_ones = [run.lease for run in valid(runs).values() if run.state in ("waiting", "running")]
            move = next_move(runs, self.recipe.settings, self.budget, self.store.held(open_ones), among=passed)
            match move:
                case End(reason):
                    return reason
                case Wait():
                    passed.clear()
                    self.stop.wait(min(_POLL_S, self.lease_s))
                case Lose(run):
                    if self.study.lost(run, LAPSED):
                        self.tell(f"trial {run.number}: its worker is gone; its values go to the next one")
                case Enter(entries):
                    self.study.enter(entries)
                case Draw():
                    self.study.enter(self._drawn(move, runs))
                case Train(run):
                    if (ended := self._train(run, passed)) is not None:
                        return ended

    def _drawn(self, move: Draw, runs: Sequence[Run]) -> Iterator[Run]:
        settings, before = self.recipe.settings, [run for run in runs if run.number < move.numbers.start]
        values = draw(
            self.recipe.space,
            [(run.params, {o: run.outcome.cost(o) for o in settings.steer}) for run in seen(before) if run.outcome],
            list(move.numbers),
            steer=settings.steer,
            sampler=settings.sampler,
            seed=settings.seed,
            same=self.recipe.same,
            taken=[run.params for run in valid(before).values() if run.rung == 0],
        )
        for number, params in zip(move.numbers, values, strict=True):
            if number not in move.there:
                yield Run(-1, number, move.batch, len(move.numbers), 0, 0, params, "waiting")

    def _train(self, run: Run, passed: set[int]) -> Reason | None:
        """One run, from its lease to its outcome. Gives why the search is to end, where it is."""
        token = self.store.take(run.lease, self.lease_s)
        if token is None or not self.study.claim(run):
            passed.add(run.id)
            if token is not None:
                self.store.release(run.lease, token)
            return None
        self.watch(self.study.runs())
        keeping = lease.kept(
            self.store, run.lease, token, stop=self.stop, deadline=self.deadline, clock=self.clock, ttl_s=self.lease_s
        )
        with keeping as watch:
            try:
                outcome = tried(
                    self.recipe, run, self.held, self.teacher, self.kept, tell=self.tell, stop=watch.halt, clock=self.clock
                )
            except Stopped as stopped:
                if watch.error is not None:
                    raise watch.error from stopped
                self.tell(f"trial {run.number}: {stopped.message}")
                self.study.lost(run, "told to stop")
                return {"stop": "stopped", "time": "time"}.get(watch.why)  # type: ignore[return-value]
            except Conflict as error:  # the worker that was taken for dead still holds the checkpoint
                self.study.lost(run, error.message)
                self.stop.wait(self.lease_s / 3)
            except (TrainingDiverged, RuntimeFailure, BadInput, RuntimeError) as error:  # torch's own are RuntimeErrors
                self.tell(f"trial {run.number}: cannot be made: {error}")
                self.study.failed(run, f"{type(error).__name__}: {error}")
            else:
                if not self.study.done(run, outcome):
                    self.tell(f"trial {run.number}: came too late, another worker has it")
        return None

    def _ready(self) -> Teacher | None:
        """The teacher; of several workers of one machine one trains it, and the others find it."""
        first = self.recipe.production({})
        if first.teacher is None:
            return None
        mine = MemoryStore()
        token = mine.take("teacher", self.lease_s)
        assert token is not None
        with lease.kept(
            mine, "teacher", token, stop=self.stop, deadline=self.deadline, clock=self.clock, ttl_s=self.lease_s
        ) as watch, _alone(self.kept.checkpoints.parent / "teacher.lock", watch.halt):  # fmt: skip
            return ready_for(self.held.dataset, first, kept=self.kept, tell=self.tell, stop=watch.halt, clock=self.clock)

    def made(self, runs: list[Run]) -> Made:
        if not runs:
            raise NoFit("no trial was trained to the end", hint="give the search more trials or more time")
        return made(self.recipe, runs, self.held, self.teacher, self.kept, tell=self.tell)


@contextmanager
def _alone(place: Path, stop: threading.Event) -> Iterator[None]:
    """Waits until no other process of this machine is in here. Raises Stopped where it is told to stop before."""
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = place.open("w")
    except OSError as error:
        raise BadInput(f"search: {place.parent} cannot be written: {error.strerror}", hint="name another folder") from error
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if stop.wait(_POLL_S):
                    raise Stopped("teacher: stopped while another process trained it") from None
        yield
