"""One worker of a search: it looks at the journal, finds the next move (board.py) and makes it, until there is none.

What a killed worker was at is entered again once its lease has lapsed, and goes on from its checkpoint where that is at hand.
"""

from __future__ import annotations

import fcntl
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from littoral.budget import Budget
from littoral.errors import BadInput, Conflict, RuntimeFailure
from littoral_cloud.factory.production import ready_for
from littoral_cloud.search import lease
from littoral_cloud.search.draw import draw
from littoral_cloud.search.recipe import SearchRecipe
from littoral_cloud.search.space import START
from littoral_cloud.search.state import LAPSED, Draw, End, Enter, Lose, Train, TrialRun, WaitForWorkers, next_move, seen, valid
from littoral_cloud.search.store import MemoryStore, SearchStore
from littoral_cloud.search.study import Study
from littoral_cloud.search.trial import SearchData, tried
from littoral_cloud.teachers.teacher import Teacher
from littoral_cloud.training.resume import Kept, Stopped, Tell
from littoral_cloud.training.trainer import TrainingDiverged

_SEARCHING, _AGAIN = 0.8, 1.5
POLL_S = 0.5
"""Between two looks at what other workers are at."""

Reason = Literal["trials", "fits", "settled", "time", "stopped"]
"""Why a search ended: all trials; a student that fits and was not bettered; batches that brought nothing worth having; the time;
or it was told to stop."""

Seen = Callable[[Sequence[TrialRun]], None]
"""Told what the journal holds whenever that has changed."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Worker:
    """One worker's share of a search. `run` raises what the store and the teacher raise."""

    recipe: SearchRecipe
    held: SearchData
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
    releasing: bool = False

    def run(self, given: Teacher | None) -> Reason:
        began, begun = self.clock(), False
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
            runs = self.study.runs()
            if (now := [(run.id, run.state) for run in runs]) != shown:
                shown = now
                self.watch(runs)
            if not begun and self._begun(runs):
                begun = True
                if self.releasing and self.deadline < math.inf:
                    self.deadline = ends(self.deadline, began, self.clock())
            if begun and self.clock() >= self.deadline:
                return "time"
            open_ones = [run.lease for run in valid(runs).values() if run.state in ("waiting", "running")]
            move = next_move(
                runs,
                self.recipe.settings,
                self.budget,
                self.store.held(open_ones),
                among=passed,
                starts=len(self.recipe.starts),
            )
            match move:
                case End(reason):
                    return reason
                case WaitForWorkers():
                    passed.clear()
                    self.stop.wait(min(POLL_S, self.lease_s))
                case Lose(run):
                    if self.study.lost(run, LAPSED):
                        self.tell(f"trial {run.number}: its worker is gone; its values go to the next one")
                case Enter(entries):
                    self.study.enter(entries)
                case Draw():
                    self.study.enter(drawn(self.recipe, move, runs))
                case Train(run):
                    if (ended := self._train(run, passed)) is not None:
                        return ended

    def _begun(self, runs: Sequence[TrialRun]) -> bool:
        """Whether what the search begins with is there: no time is too short for that, so that it never ends with nothing."""
        last = len(self.recipe.settings.rungs) - 1
        ended = {run.number for run in valid(runs).values() if run.state == "failed" or (run.state, run.rung) == ("done", last)}
        return ended.issuperset(range(len(self.recipe.starts)))

    def _train(self, run: TrialRun, passed: set[int]) -> Reason | None:
        """One run, from its lease to its outcome. Gives why the search is to end, where it is."""
        token = self.store.take(run.lease, self.lease_s)
        if token is None or not self.study.claim(run):
            passed.add(run.id)
            if token is not None:
                self.store.release(run.lease, token)
            return None
        self.watch(self.study.runs())
        until = math.inf if START in run.params else self.deadline
        keeping = lease.kept(self.store, run.lease, token, stop=self.stop, deadline=until, clock=self.clock, ttl_s=self.lease_s)
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
        until = math.inf if self.recipe.starts else self.deadline
        with lease.kept(
            mine, "teacher", token, stop=self.stop, deadline=until, clock=self.clock, ttl_s=self.lease_s
        ) as watch, _alone(self.kept.checkpoints.parent / "teacher.lock", watch.halt):  # fmt: skip
            return ready_for(self.held.dataset, first, kept=self.kept, tell=self.tell, stop=watch.halt, clock=self.clock)


def ends(deadline: float, began: float, now: float) -> float:
    """When a search has to end, so that a release can be made until its deadline: a fifth of the time is kept for that, and at
    least half as much again as it took from `began` until `now` to make what the search began with.
    """
    whole = deadline - began
    return began + min(_SEARCHING * whole, whole - _AGAIN * (now - began))


def drawn(recipe: SearchRecipe, move: Draw, runs: Sequence[TrialRun]) -> Iterator[TrialRun]:
    """The runs that make a batch whole: a pure function of what the batches before it have shown."""
    settings, before = recipe.settings, [run for run in runs if run.number < move.numbers.start]
    if move.numbers.start == 0 and recipe.starts:
        for number, start in zip(move.numbers, recipe.starts, strict=True):
            if number not in move.there:
                yield TrialRun(-1, number, move.batch, len(move.numbers), 0, 0, {START: start}, "waiting")
        return
    values = draw(
        recipe.space,
        [
            (run.params, {o: run.outcome.cost(o) for o in settings.steer})
            for run in seen(before)
            if run.outcome and START not in run.params
        ],
        list(move.numbers),
        steer=settings.steer,
        sampler=settings.sampler,
        seed=settings.seed,
        same=recipe.same,
        taken=[run.params for run in valid(before).values() if run.rung == 0],
    )
    for number, params in zip(move.numbers, values, strict=True):
        if number not in move.there:
            yield TrialRun(-1, number, move.batch, len(move.numbers), 0, 0, params, "waiting")


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
                if stop.wait(POLL_S):
                    raise Stopped("teacher: stopped while another process trained it") from None
        yield
