"""The journal of a search as an Optuna study: makes, claims and settles its entries; moves.py decides which.

Optuna's own Redis backend pickles snapshots of the study. Ours has no snapshots, so the journal is JSON lines and nothing
else. An entry moves once from waiting to running and once from there to its end; where two workers try, the first in the
journal wins.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from littoral_cloud.search.draw import distributions_of, read, written
from littoral_cloud.search.recipe import SearchRecipe
from littoral_cloud.search.space import START
from littoral_cloud.search.state import State, TrialOutcome, TrialRun
from littoral_cloud.search.store import SearchStore

_STATES: Mapping[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "done",
    TrialState.FAIL: "lost",
}
_ABOUT = ("number", "batch", "size", "rung", "attempt")
_OUTCOME, _PROBLEM, _FAILED = "outcome", "problem", "failed"


class Study:
    """Raises what the store raises."""

    def __init__(self, name: str, recipe: SearchRecipe, store: SearchStore) -> None:
        self._space, self._settings = recipe.space, recipe.settings
        self._distributions = distributions_of(recipe.space)
        self._starts: dict[str, BaseDistribution] = {START: CategoricalDistribution(list(recipe.starts))} if recipe.starts else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # journals are called experimental
            self._storage = JournalStorage(_Lines(store))
            directions = [StudyDirection.MAXIMIZE if o == "accuracy" else StudyDirection.MINIMIZE for o in self._settings.steer]
            self._study = optuna.create_study(study_name=name, storage=self._storage, directions=directions, load_if_exists=True)

    def runs(self) -> list[TrialRun]:
        """All entries, in the order of the journal."""
        return [self._run(trial) for trial in self._study.get_trials(deepcopy=False) if "number" in trial.user_attrs]

    def enter(self, runs: Iterable[TrialRun]) -> None:
        """Adds entries at the end: waiting, or failed where they had too many attempts."""
        for run in runs:
            about: dict[str, Any] = {name: getattr(run, name) for name in _ABOUT}
            state = TrialState.WAITING
            if run.state == "failed":
                about, state = {**about, _FAILED: True, _PROBLEM: run.problem}, TrialState.FAIL
            params = written(run.params, self._space)
            distributions = self._starts if START in params else self._distributions
            self._study.add_trial(create_trial(state=state, params=params, distributions=distributions, user_attrs=about))

    def claim(self, run: TrialRun) -> bool:
        """Moves a run to running. False: another worker was first."""
        try:
            return self._storage.set_trial_state_values(run.id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False

    def done(self, run: TrialRun, outcome: TrialOutcome) -> bool:
        """Ends a run with its outcome. False: another worker has the run now, and this outcome does not count."""
        values = [outcome.accuracy if o == "accuracy" else outcome.cost(o) for o in self._settings.steer]
        return self._settle(run, TrialState.COMPLETE, {_OUTCOME: asdict(outcome)}, values)

    def failed(self, run: TrialRun, problem: str) -> bool:
        """Ends a run whose values cannot be trained. False: as `done`."""
        return self._settle(run, TrialState.FAIL, {_FAILED: True, _PROBLEM: problem})

    def lost(self, run: TrialRun, problem: str) -> bool:
        """Ends a run that its worker has left. False: as `done`."""
        return self._settle(run, TrialState.FAIL, {_PROBLEM: problem})

    def _settle(
        self, run: TrialRun, state: TrialState, attributes: Mapping[str, Any], values: Sequence[float] | None = None
    ) -> bool:
        try:
            for key, value in attributes.items():
                self._storage.set_trial_user_attr(run.id, key, value)
            self._storage.set_trial_state_values(run.id, state, values)
        except UpdateFinishedTrialError:
            return False
        return True

    def _run(self, trial: FrozenTrial) -> TrialRun:
        about = trial.user_attrs
        state = "failed" if about.get(_FAILED) and trial.state == TrialState.FAIL else _STATES[trial.state]
        outcome = TrialOutcome.read(about[_OUTCOME]) if state == "done" else None
        number, batch, size, rung, attempt = (about[name] for name in _ABOUT)
        params = read(trial.params, self._space)
        return TrialRun(trial._trial_id, number, batch, size, rung, attempt, params, state, outcome, about.get(_PROBLEM, ""))


class _Lines(BaseJournalBackend):
    """Optuna's journal over the lines of a store."""

    def __init__(self, store: SearchStore) -> None:
        self._store = store

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return [json.loads(line) for line in self._store.read(log_number_from)]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._store.append([json.dumps(log, separators=(",", ":")) for log in logs])
