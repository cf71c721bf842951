"""One worker of a search: it reads the journal, finds the next move (moves.py) and makes it, until the search ends.

The run of a killed worker is entered again once its lease has lapsed, and continues from its checkpoint where this machine has
it.
"""

from __future__ import annotations

import fcntl
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from littoral.budget import Budget
from littoral.errors import BadInput, Conflict, RuntimeFailure
from littoral_cloud.factory.production import Execution, ready_for
from littoral_cloud.search import lease
from littoral_cloud.search.control import SearchControl
from littoral_cloud.search.draw import draw
from littoral_cloud.search.moves import Draw, End, Enter, Lose, Train, WaitForWorkers, next_move
from littoral_cloud.search.recipe import SearchRecipe
from littoral_cloud.search.space import START, Params
from littoral_cloud.search.state import LAPSED, TrialRun, seen, valid
from littoral_cloud.search.store import MemoryStore, SearchStore
from littoral_cloud.search.study import Study
from littoral_cloud.search.trial import SearchData, tried
from littoral_cloud.teachers.teacher import Teacher
from littoral_cloud.training.resume import Stopped, WorkFolders
from littoral_cloud.training.trainer import TrainingDiverged

_SEARCHING, _AGAIN = 0.8, 1.5
POLL_S = 0.5
"""Seconds between two looks at the journal while other workers are busy."""

Reason = Literal["trials", "fits", "settled", "time", "stopped"]
"""Why a search ended: it made all trials; a student fits and no batch found a better one; the last batches gained nothing; its
time is over; its caller stopped it."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Worker:
    """One worker of a search. `run` raises what the store and the teacher raise."""

    recipe: SearchRecipe
    data: SearchData
    folders: WorkFolders
    study: Study
    store: SearchStore
    budget: Budget | None
    control: SearchControl
    deadline: float  # by the control's clock
    teacher: Teacher | None = None

    def run(self, given: Teacher | None) -> Reason:
        """Makes moves until the search ends, the time is over or the control stops it.

        Args:
            given: the teacher; None: the recipe's.
        """
        control = self.control
        began, started = control.clock(), False
        try:
            self.teacher = given or self._ready()
        except Stopped as stopped:
            control.tell(stopped.message)
            return "stopped" if control.stop.is_set() else "time"
        passed_over: set[int] = set()  # entries that another worker has
        shown: object = None
        while True:
            if control.stop.is_set():
                return "stopped"
            runs = self.study.runs()
            if (now := [(run.id, run.state) for run in runs]) != shown:
                shown = now
                control.watch(runs)
            if not started and self._started(runs):
                started = True
                if control.releasing and self.deadline < math.inf:
                    self.deadline = ends(self.deadline, began, control.clock())
            if started and control.clock() >= self.deadline:
                return "time"
            if (reason := self._move(runs, passed_over)) is not None:
                return reason

    def _move(self, runs: Sequence[TrialRun], passed_over: set[int]) -> Reason | None:
        """Makes the next move. Returns why the search ends, where it does."""
        open_ones = [run.lease for run in valid(runs).values() if run.state in ("waiting", "running")]
        leased = self.store.leased(open_ones)
        starts = len(self.recipe.starts)
        move = next_move(runs, self.recipe.settings, self.budget, leased, passed_over=passed_over, starts=starts)
        match move:
            case End(reason):
                return reason
            case WaitForWorkers():
                passed_over.clear()
                self.control.stop.wait(min(POLL_S, self.control.lease_s))
            case Lose(run):
                if self.study.lost(run, LAPSED):
                    self.control.tell(f"trial {run.number}: its worker is gone; another one gets its values")
            case Enter(entries):
                self.study.enter(entries)
            case Draw():
                self.study.enter(drawn(self.recipe, move, runs))
            case Train(run):
                return self._train(run, passed_over)
        return None

    def _started(self, runs: Sequence[TrialRun]) -> bool:
        """Whether the students that the search begins with are done. No time limit cuts these short, so each search finds one."""
        last = len(self.recipe.settings.rungs) - 1
        ended = {run.number for run in valid(runs).values() if run.state == "failed" or (run.state, run.rung) == ("done", last)}
        return ended.issuperset(range(len(self.recipe.starts)))

    def _train(self, run: TrialRun, passed_over: set[int]) -> Reason | None:
        """Trains one run, from its lease to its outcome. Returns why the search ends, where it does."""
        token = self.store.take(run.lease, self.control.lease_s)
        if token is None or not self.study.claim(run):
            passed_over.add(run.id)
            if token is not None:
                self.store.release(run.lease, token)
            return None
        self.control.watch(self.study.runs())
        until = math.inf if START in run.params else self.deadline
        with lease.renewed(self.store, run.lease, token, self.control, until) as interruption:
            try:
                outcome = tried(
                    self.recipe, run, self.data, self.teacher, self.folders,
                    tell=self.control.tell, stop=interruption.halt, clock=self.control.clock,
                )  # fmt: skip
            except Stopped as stopped:
                if interruption.error is not None:
                    raise interruption.error from stopped
                self.control.tell(f"trial {run.number}: {stopped.message}")
                self.study.lost(run, "stopped")
                return {"stop": "stopped", "time": "time"}.get(interruption.why)  # type: ignore[return-value]
            except Conflict as error:  # the worker that counts as dead still has the checkpoint
                self.study.lost(run, error.message)
                self.control.stop.wait(self.control.lease_s / 3)
            except (TrainingDiverged, RuntimeFailure, BadInput, RuntimeError) as error:  # torch's own are RuntimeErrors
                self.control.tell(f"trial {run.number}: cannot be made: {error}")
                self.study.failed(run, f"{type(error).__name__}: {error}")
            else:
                if not self.study.done(run, outcome):
                    self.control.tell(f"trial {run.number}: came too late, another worker has it")
        return None

    def _ready(self) -> Teacher | None:
        """The recipe's teacher. Of several workers on one machine one trains it, and the others load it."""
        first = self.recipe.production({})
        if first.teacher is None:
            return None
        mine = MemoryStore()
        token = mine.take("teacher", self.control.lease_s)
        assert token is not None
        until = math.inf if self.recipe.starts else self.deadline
        with (
            lease.renewed(mine, "teacher", token, self.control, until) as interruption,
            _alone(self.folders.checkpoints.parent / "teacher.lock", interruption.halt),
        ):
            how = Execution(folders=self.folders, tell=self.control.tell, stop=interruption.halt, clock=self.control.clock)
            return ready_for(self.data.dataset, first, how)


def ends(deadline: float, began: float, now: float) -> float:
    """When a search must end so that a release can be made before its deadline: the release gets a fifth of the time, at least
    1.5 times what the students that the search begins with took, from `began` until `now`.
    """
    whole = deadline - began
    return began + min(_SEARCHING * whole, whole - _AGAIN * (now - began))


def drawn(recipe: SearchRecipe, move: Draw, runs: Sequence[TrialRun]) -> Iterator[TrialRun]:
    """The runs that complete a batch: a pure function of the outcomes of the batches before it."""
    steer, before = recipe.settings.steer, [run for run in runs if run.number < move.numbers.start]
    values: list[Params] = [{START: start} for start in recipe.starts]
    if move.numbers.start > 0 or not values:
        shown = [
            (run.params, {objective: run.outcome.cost(objective) for objective in steer})
            for run in seen(before)
            if run.outcome and START not in run.params
        ]
        values = draw(recipe, move.numbers, shown, [run.params for run in valid(before).values() if run.rung == 0])
    for number, params in zip(move.numbers, values, strict=True):
        if number not in move.there:
            yield TrialRun(-1, number, move.batch, len(move.numbers), 0, 0, params, "waiting")


@contextmanager
def _alone(place: Path, stop: threading.Event) -> Iterator[None]:
    """Waits until no other process of this machine is in the body. Raises Stopped where `stop` is set before."""
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
                if stop.wait(POLL_S):
                    raise Stopped("teacher: stopped while another process trained it") from None
        yield
