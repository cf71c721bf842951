"""Waves by number and by percent, and their bound."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from littoral.errors import BadInput
from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.fleet.records import dump, load
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState, WaveSize
from littoral_cloud.rollouts.waves import checked_sizes, first_wave, is_large, may_be_large, parse_waves, sizes_of, split
from tests.kit.rollout_world import World, artifact
from tests.unit.rollouts.test_rollout_behaviour import run

GOOD, OLD = artifact("good", accuracy=0.99), artifact("old")


def waves_of(planned: int, policy: RolloutPolicy | None = None) -> list[int]:
    policy = policy or RolloutPolicy()
    return list(split(planned, sizes_of(policy, planned), policy.most_nodes))


@pytest.mark.parametrize(
    ("planned", "sizes"),
    [
        (0, []),
        (1, [1]),
        (2, [1, 1]),
        (4, [1, 3]),
        (8, [1, 7]),
        (9, [1, 2, 6]),
        (10, [1, 2, 7]),
        (20, [1, 4, 15]),
        (100, [1, 4, 20, 75]),
        (300, [1, 2, 12, 60, 225]),
        (1_000, [1, 9, 40, 200, 750]),
        (10_000, [1, 99, 400, *[1_000] * 9, 500]),
    ],
)
def test_one_then_one_five_and_twenty_five_percent_then_the_rest(planned: int, sizes: list[int]) -> None:
    assert waves_of(planned) == sizes


def test_numbers_are_sizes_and_are_kept_as_the_operator_gave_them() -> None:
    assert waves_of(20, RolloutPolicy(wave_sizes=(1, 2, 2))) == [1, 2, 2, 15]
    assert waves_of(4, RolloutPolicy(wave_sizes=(1, 2, 3))) == [1, 2, 1]
    assert waves_of(30, RolloutPolicy(wave_sizes=(1, 20), most_nodes=8)) == [1, 8, 8, 4, 8, 1]


SIZES = st.one_of(st.integers(1, 3_000), st.integers(1, 100).map("{}%".format), st.sampled_from(("0.5%", "33.3%")))


@given(sizes=st.lists(SIZES, min_size=1, max_size=5), planned=st.integers(0, 5_000), most=st.integers(1, 1_500))
def test_no_wave_is_empty_or_beyond_the_bound_and_every_node_is_in_one(sizes: list[WaveSize], planned: int, most: int) -> None:
    found = waves_of(planned, RolloutPolicy(wave_sizes=tuple(sizes), most_nodes=most))
    assert sum(found) == planned
    assert all(1 <= size <= most for size in found)


@given(shares=st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True).map(sorted), planned=st.integers(1, 5_000))
def test_waves_by_percent_grow(shares: list[int], planned: int) -> None:
    sizes = sizes_of(RolloutPolicy(wave_sizes=tuple(f"{share}%" for share in shares), most_nodes=planned), planned)
    assert list(sizes) == sorted(set(sizes))
    assert sum(sizes) * 100 < shares[-1] * planned + 100


@pytest.mark.parametrize("text", ["", "1,", "0", "1,two", "-1", "5,%", "0%", "101%", "1.5", "nan%", "٣", "1e3%", "1/2%"])
def test_what_is_no_wave_is_refused_with_the_part_that_is_wrong(text: str) -> None:
    with pytest.raises(BadInput, match="--waves: ") as refused:
        parse_waves(text)
    assert "1,5%,25%" in refused.value.hint


def test_waves_are_read_from_a_command_line() -> None:
    assert parse_waves("1, 5%,0.5%,100%") == (1, "5%", "0.5%", "100%")
    with pytest.raises(BadInput, match="names no wave"):
        checked_sizes((), "wave_sizes")


def test_a_large_first_wave_is_more_than_three_nodes_and_more_than_a_fifth() -> None:
    assert [is_large(first, planned) for first, planned in ((3, 3), (4, 20), (4, 19), (21, 100), (20, 100))] == [
        *(False, False, True, True, False)
    ]
    large = {sizes: may_be_large(RolloutPolicy(wave_sizes=sizes)) for sizes in ((1,), (3,), (4,), ("15%",), ("15.5%",))}
    assert list(large.values()) == [False, False, True, False, True]


@example(size="16%", planned=19)
@given(size=SIZES, planned=st.integers(1, 5_000))
def test_what_may_not_be_large_never_is(size: WaveSize, planned: int) -> None:
    policy = RolloutPolicy(wave_sizes=(size,))
    assert may_be_large(policy) or not is_large(first_wave(policy, planned), planned)


def test_a_rollout_of_thirty_nodes_goes_in_the_waves_that_were_planned() -> None:
    world = World([OLD, GOOD])
    for number in range(30):
        world.add_node(f"n{number:02}", serving=OLD.manifest_digest, kind="one")
    ended = run(world, world.start(world.release(1, GOOD)))
    assert ended.state is RolloutState.SUCCEEDED
    assert [wave.told for wave in ended.waves] == [1, 7, 22]


def test_a_rollout_that_was_written_before_there_were_percents_is_still_read() -> None:
    world = World([OLD, GOOD])
    for number in range(30):
        world.add_node(f"n{number:02}", serving=OLD.manifest_digest, kind="one")
    id = world.start(world.release(1, GOOD))
    body = dump(world.rollout(id))
    body["policy"]["wave_sizes"] = [1, 4]
    del body["policy"]["most_nodes"]
    before = load(Rollout, Doc("rollout", id, 1, body))
    assert (before.policy.wave_sizes, before.policy.most_nodes) == ((1, 4), 1_000)
    world.put("rollout", id, body)
    assert [wave.told for wave in run(world, id).waves] == [1, 4, 25]
