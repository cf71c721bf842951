from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from littoral_cloud.fleet.clones import BACKOFF, REMEMBERED_S, SessionTurns, Start, came, repeated
from littoral_cloud.fleet.records import Presence


def played(*script: tuple[str, float], was_open: bool = True) -> SessionTurns:
    """Args:
    script: which start said hello, and when.
    """
    turns = SessionTurns()
    for boot, at in script:
        turns = came(turns, Start(boot, f"at-{boot}", at), was_open=was_open)
    return turns


def test_an_agent_that_is_started_again_and_again_is_one_machine() -> None:
    turns = played(*((f"boot-{n}", float(n)) for n in range(50)))
    assert (turns.taken_back, turns.addresses, turns.wait_s) == (0, (), 0.0)


def test_one_start_that_loses_its_connection_is_one_machine() -> None:
    assert played(("a", 0.0), ("a", 1.0), ("a", 2.0)).addresses == ()


def test_a_start_that_comes_again_after_another_are_two_and_each_turn_is_longer() -> None:
    assert played(("a", 0.0), ("b", 10.0)).addresses == ()
    turns = played(("a", 0.0), ("b", 10.0), ("a", 11.0))
    assert set(turns.addresses) == {"at-a", "at-b"}
    assert turns.wait_s == 30.0
    turns = came(turns, Start("b", "at-b", 41.0), was_open=True)
    assert (turns.taken_back, turns.wait_s) == (2, 60.0)


def test_a_copy_that_is_started_after_days_is_seen_at_once() -> None:
    """The first one had the session all the time."""
    assert played(("a", 0.0), ("b", 9 * 86_400.0), ("a", 9 * 86_400.0 + 1)).taken_back == 1


def test_what_was_seen_is_forgotten_after_a_quiet_hour() -> None:
    turns = played(("a", 0.0), ("b", 1.0), ("a", 2.0))
    turns = came(turns, Start("a", "at-a", 3.0 + REMEMBERED_S), was_open=True)
    assert turns.addresses == ()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 2000)), max_size=60), st.booleans())
def test_neither_waits_for_ever_and_little_is_remembered(script: list[tuple[str, float]], was_open: bool) -> None:
    now, turns = 0.0, SessionTurns()
    for boot, pause in script:
        now += pause
        turns = came(turns, Start(boot, boot, now), was_open=was_open)
        assert 0.0 <= turns.wait_s <= BACKOFF.most_s < REMEMBERED_S
        assert len(turns.starts) <= 4
        assert turns.starts[-1].boot_id == boot


def counted(boot: str, connection: int) -> Presence:
    return Presence(connected=True, since=0.0, boot_id=boot, connection=connection)


def test_a_start_whose_count_was_there_already_is_a_copy() -> None:
    assert repeated(counted("a", 7), counted("b", 7))
    assert repeated(counted("a", 7), counted("b", 3))
    assert not repeated(counted("a", 7), counted("b", 8))  # started again
    assert not repeated(counted("a", 7), counted("a", 7))  # the same one, whose answer was lost
    assert not repeated(counted("a", 0), counted("b", 0))  # older agents do not count
    assert not repeated(counted("a", 7), counted("b", 0))


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=40))
def test_of_two_copies_that_follow_what_the_cloud_tells_each_change_of_hands_back_shows(script: list[str]) -> None:
    """Each counts on from what it was told last, as the agent does."""
    known, counts, before, seen, came_back = None, {"a": 5, "b": 5}, "", 0, 0
    had = set[str]()
    for boot in script:
        counts[boot] += 1
        now = counted(boot, counts[boot])
        if known is not None:
            seen += repeated(known, now)
            counts[boot] = max(counts[boot], known.connection)
        came_back += before != boot and boot in had
        had.add(boot)
        known = counted(boot, max(now.connection, known.connection if known else 0))
        before = boot
    assert seen >= (len(had) > 1)
