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
from typing import Protocol

import numpy as np

from littoral.sketch import Counted, Counts, shift
from littoral_cloud.fleet.edit import edit
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.records import dump, load

KIND = "inputs"
ACTOR = "drift"

Rows = tuple[tuple[int, ...], ...]  # features x bins


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """When inputs count as drifted. Scores are those of littoral.sketch.shift."""

    baseline_examples: int = 300
    window_examples: int = 200
    threshold: float = 0.16
    far: float = 0.2
    windows: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is known of one model's inputs on one node."""

    sketch_id: str
    baseline: Rows
    baseline_examples: int
    baseline_full: bool
    window: Rows  # being gathered
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
    rows = _rows(counted.counts)
    if before is None or before.sketch_id != counted.sketch_id or _shape(before.baseline) != _shape(rows):
        return _begun(counted, rows, now, policy, boot_id, sequence)
    seen = replace(before, boot_id=boot_id, sequence=sequence, updated_at=now)
    if not seen.baseline_full:
        examples = seen.baseline_examples + counted.examples
        return replace(
            seen,
            baseline=_sum(seen.baseline, rows),
            baseline_examples=examples,
            baseline_full=examples >= policy.baseline_examples,
        )
    seen = replace(seen, window=_sum(seen.window, rows), window_examples=seen.window_examples + counted.examples)
    return _judged(seen, now, policy) if seen.window_examples >= policy.window_examples else seen


def rebaselined(before: Inputs, now: float) -> Inputs:
    """Nothing is known of the inputs any more but how they are sketched: the next reports make a new baseline."""
    zero = _sum(before.baseline, before.baseline, times=0)
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


async def change_of(
    ledger: Ledger, node_id: str, report: InputReport, now: float, *, policy: DriftPolicy | None = None
) -> Change:
    """What the inputs of one report change, to commit together with its other changes; empty where it has no inputs, or was
    counted already. Raises Unavailable."""
    counted = report.inputs
    if counted is None or counted.examples == 0:
        return Change(())
    policy, id = policy or DriftPolicy(), inputs_id(node_id, report.model)
    doc = await ledger.get(KIND, id)
    before = load(Inputs, doc) if doc else None
    if before is not None and before.boot_id == report.boot_id and report.sequence <= before.sequence:
        return Change(())
    after = step(before, counted, now, policy, boot_id=report.boot_id, sequence=report.sequence)
    write = Write(KIND, id, dump(after), doc.generation if doc else 0)
    return Change((write,), _lines(id, before, after, policy))


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
    await edit(ledger, Inputs, KIND, id, decide, lambda before, after: _lines(id, before, after, None))


def _lines(id: str, before: Inputs | None, after: Inputs, policy: DriftPolicy | None) -> tuple[Audit, ...]:
    was = before is not None and before.drifted
    if was == after.drifted:
        return ()
    details: dict[str, object] = {"score": after.score, "examples": after.baseline_examples}
    if policy is not None:
        details["threshold"] = policy.threshold
    return (Audit("drift.detected" if after.drifted else "drift.ended", id, ACTOR, details),)


def _begun(counted: Counted, rows: Rows, now: float, policy: DriftPolicy, boot_id: str, sequence: int) -> Inputs:
    return Inputs(
        sketch_id=counted.sketch_id,
        baseline=rows,
        baseline_examples=counted.examples,
        baseline_full=counted.examples >= policy.baseline_examples,
        window=_sum(rows, rows, times=0),
        window_examples=0,
        boot_id=boot_id,
        sequence=sequence,
        updated_at=now,
    )


def _judged(seen: Inputs, now: float, policy: DriftPolicy) -> Inputs:
    """Compares a full window with the baseline, and starts the next one."""
    score = shift(np.asarray(seen.baseline), np.asarray(seen.window))
    against = (score <= policy.threshold) if seen.drifted else (score > policy.threshold)
    run = seen.run + 1 if against else 0
    turns = run >= policy.windows or (not seen.drifted and score > policy.far)
    judged = replace(
        seen,
        window=_sum(seen.window, seen.window, times=0),
        window_examples=0,
        score=round(score, 6),
        windows=seen.windows + 1,
        run=0 if turns else run,
    )
    if not turns:
        return judged
    drifted = not seen.drifted
    return replace(judged, drifted=drifted, since=now if drifted else None, acknowledged_at=None)


def _rows(counts: Counts) -> Rows:
    return tuple(tuple(int(cell) for cell in row) for row in counts)


def _shape(rows: Rows) -> tuple[int, int]:
    return len(rows), len(rows[0]) if rows else 0


def _sum(left: Rows, right: Rows, *, times: int = 1) -> Rows:
    """Cell by cell; `times` 0 gives zeros of the same shape."""
    return tuple(tuple((a + b) * times for a, b in zip(x, y, strict=True)) for x, y in zip(left, right, strict=True))
