"""Nodes are updated in their maintenance windows: in virtual time."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.errors import BadInput
from littoral_cloud.fleet.ledger import Announcement
from littoral_cloud.fleet.records import Presence, Probation, UpdateState
from littoral_cloud.rollouts.attention import Attention
from littoral_cloud.rollouts.events import Waits
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.preview import preview
from littoral_cloud.rollouts.state import ENDED, Rollout, RolloutPolicy, RolloutState
from littoral_cloud.rollouts.waves import sizes_after
from littoral_cloud.rollouts.windows import opens_at
from tests.kit.rollout_world import MODEL, Fate, World, artifact
from tests.unit.rollouts.test_rechoice import CHEAP, NARROW, WIDE, rechoose, released, settle

HOUR_S = 3_600.0
OLD, GOOD = artifact("old"), artifact("good", accuracy=0.99)
BREAKS = Fate(outcome={GOOD.manifest_digest: UpdateState.ROLLED_BACK})


def stands(world: World, node_id: str, window: str, zone: str = "") -> None:
    world.edit("presence", node_id, Presence, update_window=window, time_zone=zone)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_node_that_joins_late_gets_the_promoted_release_when_its_window_opens() -> None:
    world = released(("a", WIDE))
    world.now = at("2026-01-07T12:00+00:00")
    world.add_node("late", budget=NARROW, kind="class-of-a")
    stands(world, "late", "01:00-05:00", "Europe/Berlin")
    rechoose(world)
    assert MODEL not in world.desired("late")[1].models
    world.now = at("2026-01-08T00:59+01:00")
    rechoose(world)
    assert MODEL not in world.desired("late")[1].models
    world.now = at("2026-01-08T01:00+01:00")
    settle(world)
    assert world.actors["late"].serving == CHEAP.manifest_digest


@pytest.mark.parametrize(
    ("window", "zone", "over", "opens"),
    [
        ("", "", "", "2026-01-07T12:00+00:00"),
        ("13:00-14:00", "", "", "2026-01-07T13:00+00:00"),  # an agent of before names no zone
        ("13:00-14:00", "Europe/Berlin", "", "2026-01-07T12:00+00:00"),
        ("13:00-14:00", "Asia/Tokyo", "", "2026-01-08T13:00+09:00"),
        ("13:00-14:00", "Asia/Tokyo", "22:00-23:00", "2026-01-07T22:00+09:00"),  # the rollout's, by the node's clock
        ("13:00-14:00", "Asia/Tokyo", "always", "2026-01-07T12:00+00:00"),
    ],
)
def test_the_window_is_the_nodes_own_or_the_one_of_the_rollout_by_the_nodes_clock(
    window: str, zone: str, over: str, opens: str
) -> None:
    world, now = World([]), at("2026-01-07T12:00+00:00")
    world.add_node("a")
    stands(world, "a", window, zone)
    assert opens_at(world.snapshot().nodes["a"], now, over) == at(opens)


@pytest.mark.parametrize(("window", "zone"), [("sometimes", "UTC"), ("01:00-02:00", "Mars/Olympus")])
def test_a_window_that_cannot_be_read_is_that_nodes_fault(window: str, zone: str) -> None:
    world = World([])
    world.add_node("a")
    stands(world, "a", window, zone)
    with pytest.raises(BadInput):
        opens_at(world.snapshot().nodes["a"], 0.0)


def noon(*windows: str, **fates: Fate) -> World:
    """Nodes a, b, ... with these windows, in UTC; it is noon on a Wednesday."""
    world = World([OLD, GOOD], start=at("2026-01-07T12:00+00:00"))
    for node_id, window in zip("abcdefghijklmnopqrst", windows, strict=False):
        world.add_node(node_id, fates.get(node_id, Fate()), serving=OLD.manifest_digest, kind="one")
        stands(world, node_id, window)
    return world


def has_it(world: World) -> str:
    return "".join(sorted(id for id, actor in world.actors.items() if actor.serving == GOOD.manifest_digest))


def go(world: World, until: str) -> None:
    """In steps of a second; where nothing has changed for a while, to the time at which the coordinator looks again."""
    end, written, quiet = at(until), -1, 0
    while world.now < end:
        world.control()
        before, written = written, sum(doc.generation for doc in world.docs.values())
        quiet = quiet + 1 if written == before else 0
        looks = [observe(world.snapshot().of(id), world.now) for id in world.snapshot().rollouts]
        works = any(actor.working is not None for actor in world.actors.values())
        due = min([end, *(event.until for event in looks if isinstance(event, Waits))])
        world.tick(1.0 if works or quiet < 10 else max(1.0, due - world.now))
    world.control()


def waits(world: World, id: str) -> tuple[str, ...]:
    event = observe(world.snapshot().of(id), world.now)
    assert isinstance(event, Waits)
    return event.waits_for


def test_a_node_outside_its_window_has_its_turn_when_it_opens_and_the_rollout_says_what_it_waits_for() -> None:
    world = noon("", "01:00-02:00", "Thu 13:00-14:00")
    id = world.start(world.release(1, GOOD))
    go(world, "2026-01-07T13:00+00:00")
    assert has_it(world) == "a"
    assert world.rollout(id).state is RolloutState.WAVE
    assert waits(world, id) == (
        "the maintenance window of name-b, from 2026-01-08 01:00 UTC on",
        "the maintenance window of name-c, from 2026-01-08 13:00 UTC on",
    )
    go(world, "2026-01-08T00:59+00:00")
    assert has_it(world) == "a"
    go(world, "2026-01-08T01:05+00:00")
    assert has_it(world) == "ab"
    go(world, "2026-01-08T13:05+00:00")
    assert has_it(world) == "abc"
    assert world.rollout(id).state is RolloutState.SUCCEEDED


def test_where_every_window_is_closed_nothing_is_told_and_nothing_fails_for_days() -> None:
    world = noon("Tue 01:00-02:00", "Tue 01:00-02:00")
    id = world.start(world.release(1, GOOD))
    go(world, "2026-01-13T00:59+00:00")
    assert world.rollout(id).state is RolloutState.MEASURING
    assert has_it(world) == ""
    go(world, "2026-01-13T01:30+00:00")
    assert world.rollout(id).state is RolloutState.SUCCEEDED


def test_the_operators_canary_is_waited_for_and_another_is_not() -> None:
    world = noon("01:00-02:00", "")
    id = world.start(world.release(1, GOOD), RolloutPolicy(canary="a"))
    go(world, "2026-01-07T14:00+00:00")
    assert has_it(world) == ""
    go(world, "2026-01-08T01:30+00:00")
    assert world.rollout(id).state is RolloutState.SUCCEEDED
    assert world.waves(id)[0] == ("a",)


def test_the_rollouts_window_takes_the_place_of_the_nodes() -> None:
    world = noon("01:00-02:00", "01:00-02:00")
    always = world.start(world.release(1, GOOD), RolloutPolicy(window="always"))
    go(world, "2026-01-07T12:30+00:00")
    assert world.rollout(always).state is RolloutState.SUCCEEDED


def test_a_node_that_fails_takes_all_back_at_once_whatever_their_windows() -> None:
    world = noon("11:00-12:01", "11:00-12:01", "13:00-14:00", c=BREAKS)
    id = world.start(world.release(1, GOOD))
    go(world, "2026-01-07T12:50+00:00")
    assert has_it(world) == "ab"
    go(world, "2026-01-07T13:10+00:00")
    assert world.rollout(id).state is RolloutState.ROLLED_BACK
    assert has_it(world) == "", "the windows of a and b are closed"


def test_a_wave_of_which_few_windows_were_open_proves_little_so_the_next_is_no_larger_than_what_was_missing() -> None:
    night = ["01:00-03:00"] * 18
    world = noon("", "", *night)
    id = world.start(world.release(1, GOOD), RolloutPolicy(wave_sizes=(1, 5)))
    go(world, "2026-01-08T00:59+00:00")
    assert has_it(world) == "ab"
    go(world, "2026-01-08T02:00+00:00")
    rollout: Rollout = world.rollout(id)
    assert rollout.state is RolloutState.SUCCEEDED
    assert [wave.told for wave in rollout.waves] == [1, 1, 4, 14]


@pytest.mark.parametrize(
    ("done", "left"),
    [(0, (1, 5, 14)), (1, (5, 14)), (2, (4, 14)), (3, (3, 14)), (4, (14,)), (6, (14,)), (12, (8,)), (13, ()), (20, ())],
)
def test_a_wave_counts_once_half_of_it_had_its_turn(done: int, left: tuple[int, ...]) -> None:
    assert sizes_after((1, 5, 14), done) == left


@pytest.mark.parametrize("defers_s", [400.0, 1_800.0])
def test_a_node_that_puts_its_update_off_is_not_silent_within_the_limit(defers_s: float) -> None:
    world = noon("", a=Fate(defers_s=defers_s))
    id = world.start(world.release(1, GOOD), RolloutPolicy(defer_s=3_600.0))
    go(world, "2026-01-07T12:06+00:00")
    assert waits(world, id) == ("name-a: DEFERRED (busy)",)
    go(world, "2026-01-07T13:05+00:00")
    assert world.rollout(id).state is RolloutState.SUCCEEDED


def test_one_that_would_put_it_off_for_longer_goes_on_at_the_limit() -> None:
    world = noon("", a=Fate(defers_s=1e6))
    id = world.start(world.release(1, GOOD), RolloutPolicy(defer_s=600.0))
    go(world, "2026-01-07T12:15+00:00")
    assert world.rollout(id).state is RolloutState.SUCCEEDED


def test_one_that_hangs_after_it_put_its_update_off_stops_the_rollout_when_both_times_are_over() -> None:
    hangs = Fate(defers_s=60.0, outcome={GOOD.manifest_digest: UpdateState.PENDING})
    world = noon("", a=hangs)
    id = world.start(world.release(1, GOOD), RolloutPolicy(defer_s=600.0, wave_s=300.0))
    go(world, "2026-01-07T12:14+00:00")
    assert world.rollout(id).state is RolloutState.WAVE
    go(world, "2026-01-07T12:30+00:00")
    assert world.rollout(id).state is RolloutState.ROLLED_BACK


def test_a_dry_run_says_whose_window_is_closed_and_when_the_first_opens() -> None:
    world = noon("", "01:00-02:00", "Thu 13:00-14:00")
    id = world.start(world.release(1, GOOD))
    go(world, "2026-01-07T12:10+00:00")  # by now it is measured, and a has it
    found = preview(world.snapshot().of(id), world.now, {GOOD.manifest_digest: 1})
    assert (found.already, found.closed, found.opens) == (1, ("name-b", "name-c"), at("2026-01-08T01:00+00:00"))


@st.composite
def fleets(draw: st.DrawFn) -> World:
    windows = ("", "", "12:00-12:01", "12:02-12:10", "12:20-12:50", "03:00-03:30; 14:00-14:01", "Thu", "always")
    outcomes = (*(UpdateState.SUCCEEDED,) * 12, UpdateState.ROLLED_BACK, UpdateState.PENDING)
    world = noon(*draw(st.lists(st.sampled_from(windows), min_size=1, max_size=6)))
    for actor in world.actors.values():
        digest, defers_s = GOOD.manifest_digest, float(draw(st.sampled_from((0, 0, 30, 400, 5_000))))
        actor.fate = Fate(outcome={digest: draw(st.sampled_from(outcomes))}, takes_s=draw(st.sampled_from((0.0, 5.0, 90.0))))
        actor.fate.defers_s = defers_s
    return world


@settings(max_examples=30, deadline=None)
@given(world=fleets(), sizes=st.lists(st.integers(1, 3), min_size=1, max_size=2), over=st.sampled_from(("", "", "12:30-13:00")))
def test_whatever_windows_there_are_it_ends_and_tells_no_node_outside_its_own(world: World, sizes: list[int], over: str) -> None:
    policy = RolloutPolicy(wave_sizes=tuple(sizes), window=over, defer_s=300.0, wave_s=120.0, probation=Probation(duration_s=0.0))
    id, ends = world.start(world.release(1, GOOD), policy), world.now + 3 * 86_400.0
    told: set[str] = set()
    while world.rollout(id).state not in ENDED:
        assert world.now < ends, f"does not end: {world.rollout(id)}"
        nodes = world.snapshot().nodes
        world.control()
        for node_id in world.actors:
            wanted = world.desired(node_id)[1].models.get(MODEL)
            if node_id not in told and wanted is not None and wanted.manifest_digest == GOOD.manifest_digest:
                told.add(node_id)
                assert opens_at(nodes[node_id], world.now, over) == world.now
        event = observe(world.snapshot().of(id), world.now) if world.rollout(id).state not in ENDED else None
        works = any(actor.working is not None for actor in world.actors.values())
        far = isinstance(event, Waits) and not works and event.until - world.now > 200.0
        world.tick(event.until - world.now if far and isinstance(event, Waits) else 5.0)
    if world.rollout(id).state is RolloutState.SUCCEEDED:
        assert told == set(world.actors), "each had its turn"


def test_a_look_is_due_when_a_node_whose_window_is_waited_for_has_another_profile() -> None:
    world = noon("", "01:00-02:00")
    id = world.start(world.release(1, GOOD))
    go(world, "2026-01-07T13:00+00:00")
    seen = world.snapshot().of(id)
    found = observe(seen, world.now)
    assert isinstance(found, Waits)
    assert Attention.after(seen, found).is_due([Announcement("profile", "b", 9)], world.now)
    assert not Attention.after(seen, found).is_due([Announcement("profile", "a", 9)], world.now)
