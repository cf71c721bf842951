"""Each node's inputs against its own baseline."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.errors import FleetError
from littoral.sketch import Counted, Sketch, fit
from littoral_cloud.fleet.drift import (
    KIND,
    CountTable,
    DriftPolicy,
    Inputs,
    acknowledge,
    counted_in,
    inputs_id,
    lines,
    node_and_model,
    rebaseline,
    rebaselined,
    step,
)
from littoral_cloud.fleet.ledger import Change, Doc, Ledger, Write
from littoral_cloud.fleet.records import dump, load

pytest_plugins = ("tests.kit.redis",)

POLICY = DriftPolicy()
RNG = np.random.default_rng(11)
SPEC = fit(RNG.normal(100, 20, (2_000, 16)), seed=2)


def inputs(examples: int, mean: float = 100.0, *, id: str = "s") -> Counted:
    sketch = Sketch(SPEC)
    sketch.add(RNG.normal(mean, 20, (examples, 16)))
    return Counted(id, sketch.counts, examples)


def after(*windows: Counted, policy: DriftPolicy = POLICY) -> Inputs:
    seen: Inputs | None = None
    for number, window in enumerate(windows, 1):
        seen = step(seen, window, float(number), policy)
    assert seen is not None
    return seen


SAME = [inputs(300), inputs(200), inputs(200)]


def test_the_first_inputs_are_the_baseline_until_there_are_enough() -> None:
    seen = after(inputs(120), inputs(120))
    assert (seen.baseline_examples, seen.baseline_full, seen.window_examples) == (240, False, 0)
    seen = step(seen, inputs(120), 3.0, POLICY)
    assert (seen.baseline_examples, seen.baseline_full) == (360, True)
    assert step(seen, inputs(50), 4.0, POLICY).baseline_examples == 360


def test_small_reports_are_gathered_into_a_window() -> None:
    seen = after(inputs(300), *[inputs(25) for _ in range(7)])
    assert (seen.window_examples, seen.score) == (175, None)
    seen = step(seen, inputs(25), 9.0, POLICY)
    assert (seen.window_examples, seen.windows) == (0, 1)
    assert seen.score is not None


def test_inputs_that_stay_what_they_were_are_never_called_drifted() -> None:
    seen = after(inputs(300), *[inputs(200) for _ in range(100)])
    assert (seen.windows, seen.drifted) == (100, False)


def test_one_window_far_over_the_threshold_is_drift() -> None:
    seen = after(*SAME, inputs(200, 140.0))
    assert (seen.drifted, seen.since) == (True, 4.0)
    assert seen.score is not None
    assert seen.score > POLICY.far


def test_a_little_over_the_threshold_is_drift_only_twice_in_a_row() -> None:
    policy = DriftPolicy(threshold=-1.0, far=1e9)
    once = after(inputs(300), inputs(200), policy=policy)
    assert not once.drifted
    assert step(once, inputs(200), 3.0, policy).drifted
    calm = step(once, inputs(200), 3.0, DriftPolicy(threshold=1e9, far=1e9))
    assert calm.run == 0


def test_drift_ends_when_inputs_are_for_long_enough_what_they_were() -> None:
    seen = after(*SAME, inputs(200, 140.0), inputs(200))
    assert seen.drifted
    seen = step(seen, inputs(200), 6.0, POLICY)
    assert (seen.drifted, seen.since) == (False, None)


def test_a_model_that_sketches_in_the_same_way_keeps_the_baseline_another_begins_anew() -> None:
    seen = after(*SAME)
    assert step(seen, inputs(20), 9.0, POLICY).baseline is seen.baseline
    other = step(seen, inputs(20, id="t"), 9.0, POLICY)
    assert (other.sketch_id, other.baseline_examples, other.drifted) == ("t", 20, False)
    odd = Counted("s", np.full((2, 3), 10, np.uint32), 30)
    assert step(seen, odd, 9.0, POLICY).baseline_examples == 30


def test_after_a_new_baseline_what_was_drift_is_the_new_normal() -> None:
    seen = rebaselined(after(*SAME, inputs(200, 140.0)), 5.0)
    assert (seen.drifted, seen.baseline_examples, seen.baseline_full) == (False, 0, False)
    for window in (inputs(300, 140.0), inputs(200, 140.0), inputs(200, 140.0)):
        seen = step(seen, window, 6.0, POLICY)
    assert (seen.windows, seen.drifted) == (2, False)
    assert step(seen, inputs(200), 7.0, POLICY).drifted


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 400), st.sampled_from((100.0, 140.0))), min_size=1, max_size=12))
def test_no_input_is_lost_or_counted_twice(reports: list[tuple[int, float]]) -> None:
    seen: Inputs | None = None
    judged = total = 0
    for number, (examples, mean) in enumerate(reports):
        before = seen
        seen = step(seen, inputs(examples, mean), float(number), POLICY)
        total += examples
        if before is not None and seen.windows > before.windows:
            judged += before.window_examples + examples
        assert seen.baseline_examples + seen.window_examples + judged == total
        assert seen.baseline.cells[0].sum() == seen.baseline_examples
        assert seen.window.cells[0].sum() == seen.window_examples < POLICY.window_examples
        assert seen.drifted == (seen.since is not None)
        assert seen.baseline_full == (seen.baseline_examples >= POLICY.baseline_examples)


@dataclass(frozen=True)
class Report:
    sequence: int
    inputs: Counted | None
    boot_id: str = "0" * 32
    model: str = "digits"


async def ingest(ledger: Ledger, node_id: str, report: Report, now: float) -> bool:
    """Whether the report changed something."""
    id = inputs_id(node_id, report.model)
    doc = await ledger.get(KIND, id)
    before = load(Inputs, doc) if doc else None
    if (after := counted_in(before, report, now, POLICY)) is None:
        return False
    write = Write(KIND, id, dump(after), doc.generation if doc else 0)
    await ledger.commit(Change((write,), lines(id, before is not None and before.drifted, after)))
    return True


async def held(ledger: Ledger, node_id: str = "n1") -> Inputs:
    doc = await ledger.get(KIND, inputs_id(node_id, "digits"))
    assert doc is not None
    return load(Inputs, doc)


async def test_drift_and_its_end_stand_in_the_audit_trail(ledger: Ledger) -> None:
    for sequence, window in enumerate([*SAME, inputs(200, 140.0), inputs(200), inputs(200)], 1):
        assert await ingest(ledger, "n1", Report(sequence, window), float(sequence))
    assert [(line.action, line.subject) for line in await ledger.audit()] == [
        ("drift.detected", "n1:digits"),
        ("drift.ended", "n1:digits"),
    ]
    assert node_and_model("n1:digits") == ("n1", "digits")


async def test_a_report_that_is_repeated_or_empty_changes_nothing(ledger: Ledger) -> None:
    await ingest(ledger, "n1", Report(1, inputs(10)), 1.0)
    assert not await ingest(ledger, "n1", Report(1, inputs(10)), 2.0)
    assert not await ingest(ledger, "n1", Report(2, None), 2.0)
    assert (await held(ledger)).baseline_examples == 10
    await ingest(ledger, "n1", Report(1, inputs(10), boot_id="1" * 32), 3.0)
    assert (await held(ledger)).baseline_examples == 20


async def test_a_new_baseline_and_an_acknowledgement_are_kept(ledger: Ledger) -> None:
    for node_id in ("n1", "n2"):
        for sequence, window in enumerate([*SAME, inputs(200, 140.0)], 1):
            await ingest(ledger, node_id, Report(sequence, window), float(sequence))
    await rebaseline(ledger, ["n1", "nobody"], "digits", 9.0)
    await acknowledge(ledger, ["n1", "n2", "nobody"], "digits", 9.0)
    one, two = await held(ledger, "n1"), await held(ledger, "n2")
    assert (one.drifted, one.acknowledged_at, one.baseline_examples) == (False, None, 0)
    assert (two.drifted, two.acknowledged_at) == (True, 9.0)


@pytest.mark.parametrize("odd", [[[1, 2], [3]], [[1.0, 2.0]], [1, 2], [], "x", [[True]], [["1"]], [[2**80]]])
def test_what_is_no_table_of_counts_is_refused_by_its_name(odd: object) -> None:
    body = dump(after(inputs(10)))
    with pytest.raises(FleetError, match=re.escape("inputs n1:m.window: ")):
        load(Inputs, Doc(KIND, "n1:m", 1, {**body, "window": odd}))


def test_a_table_holds_any_count_in_few_bytes() -> None:
    small = CountTable(np.full((18, 16), 200, np.uint32))
    assert small.cells.nbytes == 18 * 16
    twice = small + small
    assert twice.to_plain() == [[400] * 16] * 18
    assert (twice + CountTable(np.full((18, 16), 2**40))).to_plain()[0][0] == 2**40 + 400
    assert CountTable.from_plain([[-1, 3]]).to_plain() == [[-1, 3]]
    assert small.zeros().to_plain()[0] == [0] * 16
