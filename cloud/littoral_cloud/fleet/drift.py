"""Whether a model's inputs on a node are still what they were: kind "inputs", id NODE:MODEL.

Each node is compared with itself. The first `baseline_examples` inputs that it serves a model with are its baseline; what comes
after is gathered into windows of `window_examples`, and each full window is compared with the baseline (littoral.sketch.shift).
A fleet-wide reference would not do: what nodes see is not alike, and a camera that only sees sevens has not drifted.

One window over the threshold may be chance, so drift is called after `windows` of them in a row, or after one that is far over
it; it ends after as many in a row below. The thresholds were chosen by bench/drift_threshold.py.

A new model keeps the baseline where its manifest sketches inputs in the same way (students of one data set do). Once a model
that was trained after the drift is promoted, what was drift is the new normal: `rebaselined` starts from nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from littoral.sketch import Counted, shift
from littoral_cloud.fleet.edit import edit
from littoral_cloud.fleet.ledger import Audit, Ledger

KIND = "inputs"
ACTOR = "drift"


@dataclass(frozen=True, slots=True, eq=False)
class CountTable:
    """Counts of (features, bins). In JSON a list of rows. Here in the smallest type that holds them: each node has two."""

    cells: npt.NDArray[np.integer[Any]]

    def __post_init__(self) -> None:
        if self.cells.min(initial=0) >= 0:
            narrow = self.cells.astype(np.min_scalar_type(int(self.cells.max(initial=0))))
            object.__setattr__(self, "cells", narrow)

    @classmethod
    def from_plain(cls, value: Any) -> CountTable:
        """Raises ValueError where it is no list of rows of whole numbers."""
        cells = np.array(value)
        if cells.ndim != 2 or cells.dtype != np.int64:
            raise ValueError("is no table of counts: a list of lists of whole numbers, all of one length")
        return cls(cells)

    def to_plain(self) -> list[list[int]]:
        rows: list[list[int]] = self.cells.tolist()
        return rows

    def zeros(self) -> CountTable:
        """Of the same shape."""
        return CountTable(np.zeros_like(self.cells))

    def __add__(self, other: CountTable) -> CountTable:
        return CountTable(self.cells.astype(np.int64) + other.cells.astype(np.int64))


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """When inputs count as drifted. Scores are those of littoral.sketch.shift."""

    baseline_examples: int = 300
    window_examples: int = 200
    threshold: float = 0.16
    far: float = 0.2
    windows: int = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """What is known of one model's inputs on one node."""

    sketch_id: str
    baseline: CountTable
    baseline_examples: int
    baseline_full: bool
    window: CountTable  # being gathered
    window_examples: int
    boot_id: str  # of the last report that was counted, and its number: one repeated is not counted again
    sequence: int
    updated_at: float
    score: float | None = None  # of the last full window
    windows: int = 0  # judged since the baseline was full
    run: int = 0  # windows in a row that speak against `drifted`
    drifted: bool = False
    since: float | None = None  # when drift was called
    acknowledged_at: float | None = None  # when a model trained after the drift went out, here or not
    schema: int = 1


class InputReport(Protocol):
    """What is read of a littoral_cloud.fleet.telemetry.WindowReport."""

    @property
    def boot_id(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def inputs(self) -> Counted | None: ...


def inputs_id(node_id: str, model: str) -> str:
    return f"{node_id}:{model}"


def node_and_model(id: str) -> tuple[str, str]:
    node_id, _, model = id.partition(":")
    return node_id, model


def step(
    before: Inputs | None, counted: Counted, now: float, policy: DriftPolicy, *, boot_id: str = "", sequence: int = 0
) -> Inputs:
    """What is known after one more report.

    Args:
        counted: inputs of the report's window; at least one example.
        now: seconds since 1970-01-01 UTC, by the coordinator's clock.
        boot_id, sequence: of the report.
    """
    rows = CountTable(counted.counts)
    if before is None or before.sketch_id != counted.sketch_id or before.baseline.cells.shape != rows.cells.shape:
        return _begun(counted, rows, now, policy, boot_id, sequence)
    seen = replace(before, boot_id=boot_id, sequence=sequence, updated_at=now)
    if not seen.baseline_full:
        examples = seen.baseline_examples + counted.examples
        return replace(
            seen,
            baseline=seen.baseline + rows,
            baseline_examples=examples,
            baseline_full=examples >= policy.baseline_examples,
        )
    seen = replace(seen, window=seen.window + rows, window_examples=seen.window_examples + counted.examples)
    return _judged(seen, now, policy) if seen.window_examples >= policy.window_examples else seen


def rebaselined(before: Inputs, now: float) -> Inputs:
    """Nothing is known of the inputs any more but how they are sketched: the next reports make a new baseline."""
    zero = before.baseline.zeros()
    return Inputs(
        sketch_id=before.sketch_id,
        baseline=zero,
        baseline_examples=0,
        baseline_full=False,
        window=zero,
        window_examples=0,
        boot_id=before.boot_id,
        sequence=before.sequence,
        updated_at=now,
    )


def counted_in(before: Inputs | None, report: InputReport, now: float, policy: DriftPolicy) -> Inputs | None:
    """What is known after a report; None where it has no inputs, or was counted already. Pure."""
    counted = report.inputs
    if counted is None or counted.examples == 0:
        return None
    if before is not None and before.boot_id == report.boot_id and report.sequence <= before.sequence:
        return None
    return step(before, counted, now, policy, boot_id=report.boot_id, sequence=report.sequence)


async def rebaseline(ledger: Ledger, node_ids: Iterable[str], model: str, now: float) -> None:
    """Starts the baselines of these nodes again. A node of which nothing is known is passed over."""
    for node_id in node_ids:
        await _update(ledger, inputs_id(node_id, model), lambda before: rebaselined(before, now) if before else None)


async def acknowledge(ledger: Ledger, node_ids: Iterable[str], model: str, now: float) -> None:
    """Drift on these nodes goes on but asks for nothing more: what was learnt of it does not fit them."""
    for node_id in node_ids:
        await _update(
            ledger,
            inputs_id(node_id, model),
            lambda before: replace(before, acknowledged_at=now) if before and before.drifted else None,
        )


async def _update(ledger: Ledger, id: str, decide: Callable[[Inputs | None], Inputs | None]) -> None:
    await edit(ledger, Inputs, KIND, id, decide, lambda before, after: lines(id, bool(before and before.drifted), after))


def lines(id: str, was: bool, after: Inputs, policy: DriftPolicy | None = None) -> tuple[Audit, ...]:
    """Of the audit trail, where drift began or ended. `was`: whether they had drifted before."""
    if was == after.drifted:
        return ()
    details: dict[str, object] = {"score": after.score, "examples": after.baseline_examples}
    if policy is not None:
        details["threshold"] = policy.threshold
    return (Audit("drift.detected" if after.drifted else "drift.ended", id, ACTOR, details),)


def _begun(counted: Counted, rows: CountTable, now: float, policy: DriftPolicy, boot_id: str, sequence: int) -> Inputs:
    return Inputs(
        sketch_id=counted.sketch_id,
        baseline=rows,
        baseline_examples=counted.examples,
        baseline_full=counted.examples >= policy.baseline_examples,
        window=rows.zeros(),
        window_examples=0,
        boot_id=boot_id,
        sequence=sequence,
        updated_at=now,
    )


def _judged(seen: Inputs, now: float, policy: DriftPolicy) -> Inputs:
    """Compares a full window with the baseline, and starts the next one."""
    score = shift(seen.baseline.cells, seen.window.cells)
    against = (score <= policy.threshold) if seen.drifted else (score > policy.threshold)
    run = seen.run + 1 if against else 0
    turns = run >= policy.windows or (not seen.drifted and score > policy.far)
    judged = replace(
        seen,
        window=seen.window.zeros(),
        window_examples=0,
        score=round(score, 6),
        windows=seen.windows + 1,
        run=0 if turns else run,
    )
    if not turns:
        return judged
    drifted = not seen.drifted
    return replace(judged, drifted=drifted, since=now if drifted else None, acknowledged_at=None)
