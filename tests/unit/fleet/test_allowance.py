"""What one node may ask for: by a clock that the test moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from littoral_cloud.fleet.allowance import (
    LINES_AT_ONCE,
    LINES_PER_MINUTE,
    MESSAGES_AT_ONCE,
    MESSAGES_PER_SECOND,
    NodeAllowance,
    commit,
    count_left_out,
)
from littoral_cloud.fleet.ledger import Audit, Ledger, Write

pytest_plugins = ("tests.kit.redis",)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines(count: int) -> list[Audit]:
    return [Audit("update.failed", "n1", "n1", {"n": n}) for n in range(count)]


def test_a_node_that_was_away_hands_in_what_waited_and_is_then_slowed_down() -> None:
    clock = Clock()
    allowance = NodeAllowance("n1", clock)
    assert [allowance.message() for _ in range(MESSAGES_AT_ONCE)] == [0.0] * MESSAGES_AT_ONCE
    assert allowance.message() == 1 / MESSAGES_PER_SECOND
    clock.now += 1.0
    paused = [allowance.message() for _ in range(int(MESSAGES_PER_SECOND))]
    assert paused[-2:] == [0.0, 1 / MESSAGES_PER_SECOND]
    clock.now += 1e9  # never more than at first
    assert [allowance.message() for _ in range(MESSAGES_AT_ONCE + 1)].count(0.0) == MESSAGES_AT_ONCE


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 200)), max_size=30))
def test_of_every_line_it_is_known_whether_it_was_written(batches: list[tuple[float, int]]) -> None:
    clock = Clock()
    allowance = NodeAllowance("n1", clock)
    asked = written = said = 0
    for seconds, count in batches:
        clock.now += seconds
        told = allowance.allowed(lines(count))
        assert allowance.allowed(lines(count)).lines == told.lines  # asking is not writing
        allowance.written(told)
        asked += count
        written += sum(line.action == "update.failed" for line in told.lines)
        said += sum(int(str(line.details["lines"])) for line in told.lines if line.action == "audit.left-out")
        assert asked == written + said + allowance.left_out
        assert written <= LINES_AT_ONCE + (clock.now - 100.0) * LINES_PER_MINUTE / 60
    told = allowance.allowed((), at_last=True)
    allowance.written(told)
    assert allowance.left_out == 0
    assert [line.details for line in told.lines] == ([] if asked == written + said else [{"lines": asked - written - said}])


async def test_what_was_left_out_is_one_line_and_the_documents_are_written_all_the_same(ledger: Ledger) -> None:
    clock = Clock()
    allowance = NodeAllowance("n1", clock)
    for n in range(4):
        await commit(ledger, (Write("thing", str(n), {}, 0),), lines(LINES_AT_ONCE), allowance)
    assert len(await ledger.all("thing")) == 4
    assert len(await ledger.audit()) == LINES_AT_ONCE
    await count_left_out(ledger, allowance)  # not yet
    assert len(await ledger.audit()) == LINES_AT_ONCE
    clock.now += 60.0
    await count_left_out(ledger, allowance)
    await count_left_out(ledger, allowance)
    last = (await ledger.audit())[LINES_AT_ONCE:]
    assert [(line.action, line.subject, line.details) for line in last] == [
        ("audit.left-out", "n1", {"lines": 3 * LINES_AT_ONCE})
    ]
