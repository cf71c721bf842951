"""The table of what takes back a model: every row ends in a decision, and both crash counters have one limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral_node.supervision import crash_record as crashes
from littoral_node.supervision.failures import FAILURES, Consequence, Failure, Phase, gives_up, outcome
from littoral_node.update.events import AgentCrashed
from littoral_node.update.state import PHASES, ModelUpdateState, Update, step

DIGEST = "sha256:" + "a" * 64
IN_UPDATE = {Phase.FETCHING, Phase.VERIFYING, Phase.PROBATION}


@pytest.mark.parametrize(("phase", "failure"), list(FAILURES))
def test_below_a_limit_and_at_it_each_row_gives_its_own_outcome(phase: Phase, failure: Failure) -> None:
    rule = FAILURES[phase, failure]
    if rule.limit is None:
        assert {outcome(phase, failure, count) for count in (1, 1_000)} == {rule.at_limit}
        return
    assert {outcome(phase, failure, count) for count in range(1, rule.limit)} <= {rule.below}
    assert outcome(phase, failure, rule.limit) is rule.at_limit
    assert outcome(phase, failure, rule.limit + 5, previous=False) is (rule.without_previous or rule.at_limit)


@given(st.sampled_from(list(Phase)), st.sampled_from(list(Failure)))
def test_a_pair_without_a_row_is_refused(phase: Phase, failure: Failure) -> None:
    if (phase, failure) not in FAILURES:
        with pytest.raises(KeyError):
            outcome(phase, failure)


def test_where_the_outcome_is_the_previous_artifact_there_is_an_answer_without_one() -> None:
    for (phase, _), rule in FAILURES.items():
        if rule.at_limit in (Consequence.PREVIOUS, Consequence.SUBSTITUTE):
            assert rule.without_previous is not None
        assert (rule.at_limit in (Consequence.FAILED, Consequence.ROLLED_BACK, Consequence.RESUME)) == (phase in IN_UPDATE)


@pytest.mark.parametrize("state", [ModelUpdateState.VERIFYING, ModelUpdateState.PROBATION])
def test_a_crash_in_an_update_and_one_in_service_give_a_model_up_after_the_same_number(state: ModelUpdateState) -> None:
    book, update, number = crashes.Book(), Update("m", DIGEST, 1, state=state), 0
    while not crashes.given_up(book, "m", DIGEST):
        number += 1
        book, _ = crashes.reopened(crashes.loading(book, "m", DIGEST), "this start", {}) if number > 1 else _first(book)
        update, _ = step(update, AgentCrashed(1), 0.0)
        assert (update.state not in PHASES) == crashes.given_up(book, "m", DIGEST) == gives_up(number)


def _first(book: crashes.Book) -> tuple[crashes.Book, object]:
    started, _ = crashes.reopened(book, "this start", {})
    return crashes.reopened(crashes.loading(started, "m", DIGEST), "this start", {})
