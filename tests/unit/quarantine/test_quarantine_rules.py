"""When a node that keeps failing comes into quarantine, and out of it; and what counts as a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral_cloud.fleet.quarantine import (
    MOST_FAILURES,
    NodeFailure,
    NodeTrouble,
    QuarantinePolicy,
    ended,
    is_over,
    with_failure,
)
from littoral_cloud.fleet.records import Desired, DesiredModel, Reported, ReportedModel, UpdateState
from littoral_cloud.quarantine.failures import failed_updates

POLICY = QuarantinePolicy(failures=3, within_s=100.0, lasts_s=50.0)
DIGEST = f"sha256:{'a' * 64}"


def after(*failures: tuple[str, float], trouble: NodeTrouble | None = None) -> NodeTrouble:
    trouble = trouble or NodeTrouble()
    for of, at in failures:
        trouble = with_failure(trouble, NodeFailure(of=of, at=at, reason="digits: FAILED: no-space"), POLICY, "quarantine")
    return trouble


def test_three_failures_of_different_rollouts_within_the_time_bring_a_node_into_quarantine() -> None:
    assert after(("a", 1.0), ("b", 2.0)).quarantine is None
    quarantine = after(("a", 1.0), ("b", 2.0), ("c", 99.0)).quarantine
    assert quarantine is not None
    assert (quarantine.since, quarantine.until, quarantine.by) == (99.0, 149.0, "quarantine")
    assert quarantine.reason == "3 failures within 0.0277778 h"


def test_one_rollout_that_fails_again_and_again_counts_once() -> None:
    assert after(("a", 1.0), ("a", 2.0), ("a", 3.0), ("b", 4.0)).quarantine is None


def test_failures_that_lie_too_far_apart_do_not_count_together() -> None:
    assert after(("a", 1.0), ("b", 60.0), ("c", 101.0)).quarantine is None
    assert after(("a", 1.0), ("b", 60.0), ("c", 100.9)).quarantine is not None


def test_it_is_over_in_its_time_and_counts_begin_again() -> None:
    quarantined = after(("a", 1.0), ("b", 2.0), ("c", 3.0))
    assert not is_over(quarantined, 52.9)
    assert is_over(quarantined, 53.0)
    out = ended(quarantined, 53.0)
    assert out.quarantine is None
    assert after(("d", 54.0), ("e", 55.0), trouble=out).quarantine is None
    assert after(("a", 54.0), ("d", 54.0), ("e", 55.0), trouble=out).quarantine is None, "a is known"
    assert after(("d", 54.0), ("e", 55.0), ("f", 56.0), trouble=out).quarantine is not None


def test_one_without_an_end_is_never_over_by_itself() -> None:
    quarantined = after(("a", 1.0), ("b", 2.0), ("c", 3.0))
    assert quarantined.quarantine is not None
    endless = replace(quarantined, quarantine=replace(quarantined.quarantine, until=None))
    assert not is_over(endless, 1e12)


def test_zero_failures_means_never() -> None:
    never = QuarantinePolicy(failures=0)
    trouble = NodeTrouble()
    for n in range(10):
        trouble = with_failure(trouble, NodeFailure(of=str(n), at=float(n), reason=""), never, "quarantine")
    assert trouble.quarantine is None


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 1_000)), max_size=60))
def test_what_is_remembered_is_bounded_and_names_each_failure_once(failures: list[tuple[str, float]]) -> None:
    trouble = after(*sorted(failures, key=lambda each: each[1]))
    names = [each.of for each in trouble.failures]
    assert len(names) == len(set(names)) <= MOST_FAILURES


@pytest.mark.parametrize(
    ("state", "reason", "generation", "counts"),
    [
        (UpdateState.FAILED, "no-space", 4, True),
        (UpdateState.ROLLED_BACK, "crash-loop", 4, True),
        (UpdateState.ROLLED_BACK, "accuracy-drop", 4, False),
        (UpdateState.ABORTED, "superseded", 4, False),
        (UpdateState.SUCCEEDED, "", 4, False),
        (UpdateState.FAILED, "no-space", 3, False),  # of another intent, whose rollout is not known any more
    ],
)
def test_what_counts_as_a_failed_update(state: UpdateState, reason: str, generation: int, counts: bool) -> None:
    desired = Desired(models={"digits": DesiredModel(manifest_digest=DIGEST, rollout_id="digits-2-r1", generation=4)})
    model = ReportedModel(state=state, desired_generation=generation, target=DIGEST, reason=reason)
    found = list(failed_updates(desired, Reported(generation=1, observed_generation=1, models={"digits": model}), 7.0))
    wanted = [NodeFailure(of="digits-2-r1", at=7.0, reason=f"digits: {state}: {reason}")]
    assert found == (wanted if counts else [])
