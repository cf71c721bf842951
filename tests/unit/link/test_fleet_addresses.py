"""Which coordinator a node asks next."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from littoral_node.link.addresses import MOST, FleetAddresses

A, B, C = "a:7444", "b:7444", "c:7444"


def quiet(event: str, **fields: object) -> None:
    return


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "coordinators.json"


def known(file: Path, *named: str, seed: int = 1) -> FleetAddresses:
    addresses = FleetAddresses(file, random.Random(seed), quiet)
    addresses.learn(named)
    return addresses


def test_a_node_that_knows_one_coordinator_asks_it_for_ever(file: Path) -> None:
    for addresses in (known(file), known(file, A)):
        for _ in range(5):
            addresses.elsewhere(A)
            assert addresses.current(A) == A


def test_the_nodes_of_a_coordinator_that_ends_are_spread_over_the_others(file: Path) -> None:
    went: Counter[str] = Counter()
    for seed in range(300):
        addresses = known(file, A, B, C, seed=seed)
        assert addresses.current(A) == A
        addresses.elsewhere(A)
        went[addresses.current(A)] += 1
    assert set(went) == {B, C}
    assert min(went.values()) > 100


def test_after_a_restart_the_others_are_known_and_where_it_enrolled_comes_first(file: Path) -> None:
    known(file, B, C).elsewhere(A)
    again = FleetAddresses(file, random.Random(1), quiet)
    assert again.current(A) == A
    again.elsewhere(A)
    assert again.current(A) in {B, C}


def test_one_that_is_not_named_any_more_is_left_and_where_it_enrolled_stays_known(file: Path) -> None:
    addresses = known(file, B)
    addresses.elsewhere(A)
    assert addresses.current(A) == B
    addresses.learn([C])
    assert addresses.current(A) == A
    addresses.learn([])  # of an older cloud
    addresses.elsewhere(A)
    assert addresses.current(A) == C


def test_what_the_cloud_names_is_bounded_and_a_damaged_file_is_put_aside(file: Path) -> None:
    addresses = known(file, "x" * 1000, "", *(f"h{number}:1" for number in range(100)))
    seen = set()
    for _ in range(500):
        addresses.elsewhere(A)
        seen.add(addresses.current(A))
    assert len(seen) == MOST + 1
    file.write_bytes(file.read_bytes()[:-20])
    fresh = FleetAddresses(file, random.Random(1), quiet)
    fresh.elsewhere(A)
    assert fresh.current(A) == A
    assert not file.exists()
