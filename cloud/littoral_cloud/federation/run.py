"""A federated run: what is asked, how far it is, what it cost. Pure transitions; `update_run` commits one.

PENDING --started--> RUNNING --round_started, round_finished ...--> SUCCEEDED
   any of both --failed--> FAILED
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from littoral.digest import check_digest
from littoral.errors import BadInput, FleetError, NotFound
from littoral_cloud.federation.faults import BAD
from littoral_cloud.federation.strategies import check_strategy
from littoral_cloud.fleet.edit import revise
from littoral_cloud.fleet.ledger import Audit, Change, Fence, Ledger, Write
from littoral_cloud.fleet.records import dump, load
from littoral_cloud.releases.catalogue import unchanged_artifact

KIND = "run"
LONGEST_ROUND_S = 7 * 86_400.0
RANGES: Mapping[str, tuple[int, int]] = {
    "rounds": (1, 1000),
    "local_epochs": (1, 100),
    "batch_size": (1, 4096),
    "classes": (2, 100_000),
    "min_nodes": (1, 100_000),
    "seed": (0, 2**63 - 1),  # int64 in Flower's messages
}
"""The smallest and largest value of a run's integers."""
STOPPED = "stopped"
"""The reason of a run that an operator ended."""


class WrongState(FleetError):
    """A run cannot do that where it stands."""

    code = "wrong-state"


class RunState(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def terminal(self) -> bool:
        return self in (RunState.SUCCEEDED, RunState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRound:
    """The round that is under way: a restarted worker asks the same nodes for the same messages."""

    number: int
    started_at: float
    pool: tuple[str, ...]  # nodes that were there to be sampled from


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRound:
    number: int
    seconds: float  # from the first start of the round, over restarts of the worker too
    weights: str  # digest of the global model after it: a safetensors blob
    participants: tuple[str, ...]  # node ids whose replies are in it
    failed: Mapping[str, str]  # code of what went wrong, by node id; "silent" where nothing came in time
    bytes_down: int
    bytes_up: int
    metrics: Mapping[str, float]  # mean over nodes, weighted by their examples


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    run_id: str
    model: str  # the name under which it is served
    strategy: str
    rounds: int
    local_epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    architecture: Mapping[str, Any]  # what littoral.architectures.build takes
    input: Mapping[str, Any]  # {"shape": of one example, "scale", "mean", "std"}: how nodes prepare raw examples
    classes: int
    base_weights: str  # digest of the safetensors blob that the run begins with
    base_manifest: str = ""  # of the artifact whose weights these are
    data: str = ""  # the cloud's own data set, by which what comes out is exported and judged
    calibration: float = 1.0  # of the nodes' logits by their own class frequencies; 0: plain cross-entropy
    freeze_head: bool = True  # the last layer stays as it is
    cohort: tuple[str, ...] = ()  # node ids; empty: every node that can
    fraction: float = 1.0
    min_nodes: int = 2  # asked for in a round, at least
    min_replies: int = 2  # the quorum: with fewer good replies in time the run fails
    round_timeout_s: float = 120.0
    state: RunState = RunState.PENDING
    open_round: OpenRound | None = None
    finished: tuple[FinishedRound, ...] = ()
    crashes: int = 0  # of the worker process, since the last finished round
    reason: str = ""  # stable code, for FAILED
    detail: str = ""
    origin: Literal["operator", "loop"] = "operator"  # who asked for it: an operator, or the closed loop
    created_at: float = 0.0
    started_at: float = 0.0  # 0: not yet
    finished_at: float = 0.0
    schema: int = 1

    @property
    def done(self) -> int:
        """Rounds that are finished."""
        return len(self.finished)

    @property
    def weights(self) -> str:
        """Digest of the newest global model."""
        return self.finished[-1].weights if self.finished else self.base_weights

    @property
    def bytes_down(self) -> int:
        return sum(r.bytes_down for r in self.finished)

    @property
    def bytes_up(self) -> int:
        return sum(r.bytes_up for r in self.finished)

    @property
    def seconds_per_round(self) -> tuple[float, ...]:
        return tuple(r.seconds for r in self.finished)

    @property
    def participants(self) -> tuple[str, ...]:
        """Every node whose reply is in some round."""
        return tuple(sorted({node for r in self.finished for node in r.participants}))


def _in(run: Run, *states: RunState) -> None:
    if run.state not in states:
        raise WrongState(f"run {run.run_id}: is {run.state}, not {' or '.join(states)}")


def started(run: Run, now: float) -> Run:
    _in(run, RunState.PENDING)
    return replace(run, state=RunState.RUNNING, started_at=now)


def round_started(run: Run, number: int, pool: tuple[str, ...], now: float) -> Run:
    """Unchanged where that round is open already: its clock goes on over a restart of the worker."""
    _in(run, RunState.RUNNING)
    if number != run.done + 1 or number > run.rounds:
        raise WrongState(f"run {run.run_id}: round {number} cannot start, {run.done} of {run.rounds} are finished")
    if run.open_round is not None and run.open_round.number == number:
        return run
    return replace(run, open_round=OpenRound(number=number, started_at=now, pool=pool))


def round_finished(run: Run, finished: FinishedRound) -> Run:
    _in(run, RunState.RUNNING)
    if run.open_round is None or finished.number != run.open_round.number:
        raise WrongState(f"run {run.run_id}: round {finished.number} is not open")
    return replace(run, open_round=None, finished=(*run.finished, finished), crashes=0)


def succeeded(run: Run, now: float) -> Run:
    _in(run, RunState.RUNNING)
    if run.done != run.rounds:
        raise WrongState(f"run {run.run_id}: {run.done} of {run.rounds} rounds are finished")
    return replace(run, state=RunState.SUCCEEDED, finished_at=now)


def failed(run: Run, reason: str, detail: str, now: float) -> Run:
    _in(run, RunState.PENDING, RunState.RUNNING)
    return replace(run, state=RunState.FAILED, reason=reason, detail=detail[:2000], finished_at=now)


def crashed(run: Run) -> Run:
    _in(run, RunState.RUNNING)
    return replace(run, crashes=run.crashes + 1)


def sitting_out(run: Run) -> tuple[str, ...]:
    """Nodes of which nothing more is asked in this run: their last two replies were bad."""
    last: dict[str, list[bool]] = {}
    for finished in run.finished:
        for node in finished.participants:
            last.setdefault(node, []).append(False)
        for node, code in finished.failed.items():
            last.setdefault(node, []).append(code in BAD)
    return tuple(sorted(node for node, were_bad in last.items() if len(were_bad) >= 2 and all(were_bad[-2:])))


def checked(run: Run) -> Run:
    """Gives a new run back. Raises BadInput, naming the field, where it cannot work."""
    if not run.run_id or len(run.run_id) > 64 or not run.run_id.replace("-", "").isalnum():
        raise BadInput(f"run id: {run.run_id!r} must be letters, digits and '-', at most 64")
    for name, (low, high) in RANGES.items():
        if not low <= getattr(run, name) <= high:
            raise BadInput(f"{name}: {getattr(run, name)} must lie between {low} and {high}")
    if (
        not 0 < run.learning_rate < 10
        or not 0 < run.fraction <= 1
        or not 0 < run.round_timeout_s <= LONGEST_ROUND_S
        or not 0 <= run.calibration <= 1
    ):
        raise BadInput(
            f"learning_rate {run.learning_rate}, fraction {run.fraction}, calibration {run.calibration}, "
            f"round_timeout_s {run.round_timeout_s}: out of range",
            hint="learning rate between 0 and 10, fraction over 0 and at most 1, calibration from 0 to 1, timeout up to a week",
        )
    if not 1 <= run.min_replies <= run.min_nodes:
        raise BadInput(f"min_replies: {run.min_replies} must lie between 1 and min_nodes, {run.min_nodes}")
    if run.cohort and len(set(run.cohort)) < run.min_nodes:
        raise BadInput(
            f"nodes: {len(set(run.cohort))} named, min_nodes is {run.min_nodes}", hint="name more, or lower --min-nodes"
        )
    check_strategy(run.strategy)
    check_digest(run.base_weights, "base weights")
    return run


async def create_run(ledger: Ledger, run: Run, *, actor: str) -> Run:
    """Writes a PENDING run; the coordinator's controller starts it.

    Raises BadInput where it cannot work, NotFound where its base is no artifact, Conflict where there is a run of that id or
    the base was written or deleted at this moment.
    """
    base = (await unchanged_artifact(ledger, run.base_manifest),) if run.base_manifest else ()
    audit = Audit("run.created", run.run_id, actor, {"model": run.model, "rounds": run.rounds, "strategy": run.strategy})
    await ledger.commit(Change((Write(KIND, run.run_id, dump(checked(run)), 0), *base), (audit,)))
    return run


async def read_run(ledger: Ledger, run_id: str) -> Run:
    """Raises NotFound."""
    doc = await ledger.get(KIND, run_id)
    if doc is None:
        raise _no_run(run_id)
    return load(Run, doc)


def _no_run(run_id: str) -> NotFound:
    return NotFound(f"run {run_id!r}: there is none", hint="littoral-cloud run list")


async def all_runs(ledger: Ledger) -> list[Run]:
    """Oldest first."""
    return sorted((load(Run, doc) for doc in await ledger.all(KIND)), key=lambda run: (run.created_at, run.run_id))


def next_run(runs: Sequence[Run]) -> Run | None:
    """The run to work on: one that is RUNNING, else the oldest that is PENDING. `runs`: oldest first."""
    return next((run for state in (RunState.RUNNING, RunState.PENDING) for run in runs if run.state is state), None)


async def stop_run(ledger: Ledger, run_id: str, now: float, *, actor: str) -> Run:
    """Ends a run: FAILED with the reason STOPPED. Its controller then ends the worker and the nodes' tasks.

    Raises NotFound; WrongState where the run is over.
    """
    audit = Audit("run.stopped", run_id, actor)
    return await update_run(ledger, run_id, lambda run: failed(run, STOPPED, f"by {actor}", now), audit)


async def update_run(ledger: Ledger, run_id: str, step: Callable[[Run], Run], *audit: Audit, fence: Fence | None = None) -> Run:
    """Commits a transition with its audit lines; nothing at all where the step changes nothing.

    Raises WrongState where the transition is not allowed, LostLease where the fence is not valid any more.
    """
    return await revise(ledger, Run, KIND, run_id, step, *audit, missing=_no_run(run_id), fence=fence)
