"""Which server of a Redis Cluster has a slot, from what one of them answers."""

from __future__ import annotations

import pytest

from littoral_cloud.store.cluster import ClusterMap, owner_in

SLOTS = [
    [0, 5460, [b"10.0.0.1", 7000, b"id1"], [b"10.0.0.4", 7003, b"id4"]],
    [5461, 10922, [b"", 7001, b"id2"]],
    [10923, 16000, [None, 7002, b"id3"]],
]


@pytest.mark.parametrize(
    ("slot", "owner"),
    [
        (0, ("10.0.0.1", 7000)),
        (5460, ("10.0.0.1", 7000)),
        (5461, ("asked", 7001)),  # a server that names no host means its own
        (16000, ("asked", 7002)),
        (16001, None),
    ],
)
def test_the_owner_of_a_slot(slot: int, owner: tuple[str, int] | None) -> None:
    assert owner_in(SLOTS, slot, "asked") == owner


def test_fleets_lie_in_slots_of_their_own() -> None:
    slots = {ClusterMap("redis+cluster://a", f"fleet-{number}", {}).slot for number in range(100)}
    assert len(slots) > 90
    assert all(0 <= slot < 16384 for slot in slots)
