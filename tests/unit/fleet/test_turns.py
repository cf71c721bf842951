"""The line of nodes that wait for their Welcome, and the turns of those for whom it is too long."""

from __future__ import annotations

import pytest

from littoral_cloud.fleet.turns import LINE_LEAST, LINE_S, WELCOMES_A_SECOND, WelcomePace, after_welcome, next_turn


def pace_of(a_second: float, welcomes: int = 500) -> WelcomePace:
    pace = WelcomePace()
    for number in range(welcomes):
        pace = after_welcome(pace, number / a_second, others_wait=True)
    return pace


@pytest.mark.parametrize("a_second", [50, 100, 400])
def test_the_line_is_as_long_as_the_nodes_have_patience(a_second: int) -> None:
    pace = pace_of(a_second)
    assert pace.line_most == pytest.approx(LINE_S * a_second, rel=0.01)
    assert next_turn(pace.line_most - 1, 0.0, 100.0, pace) is None


def test_turns_come_at_the_pace_at_which_welcomes_leave() -> None:
    pace, turn, given = pace_of(100), 0.0, []
    for _ in range(200):
        found = next_turn(5_000, turn, 10.0, pace)
        assert found is not None
        given.append(turn := found)
    assert given[0] == 10.0 + LINE_S / 2
    assert given[-1] == pytest.approx(given[0] + 199 / 100, rel=0.01)


def test_a_time_without_nodes_is_no_slow_pace() -> None:
    pace = after_welcome(WelcomePace(), 0.0, others_wait=True)
    pace = after_welcome(pace, 1 / WELCOMES_A_SECOND, others_wait=False)
    assert after_welcome(pace, 3_600.0, others_wait=True).seconds == pytest.approx(1 / WELCOMES_A_SECOND)


def test_the_slowest_machine_has_a_line() -> None:
    assert pace_of(0.01).line_most == LINE_LEAST
