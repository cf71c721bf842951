"""How many nodes a limit of open files is good for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadInput
from littoral_cloud.api.open_files import FILES_A_NODE, RESERVE, room_for


@given(st.integers(200, 1 << 20))
def test_with_every_connection_taken_the_reserve_is_left(limit: int) -> None:
    room = room_for(limit)
    files_of_blobs = room.nodes
    assert room.fleet_connections + room.enrolment_connections + files_of_blobs <= limit - RESERVE
    assert room.nodes < room.fleet_connections, "a newcomer gets a connection, to be told that there is no room"
    assert room.nodes * FILES_A_NODE <= limit


@pytest.mark.parametrize(("limit", "nodes"), [(256, 32), (1024, 224), (20_000, 4968)])
def test_the_usual_limits(limit: int, nodes: int) -> None:
    assert str(room_for(limit)) == f"{limit} open files: room for {nodes} nodes"


@pytest.mark.parametrize("limit", [0, 64, RESERVE, RESERVE + 3])
def test_a_limit_that_leaves_nothing_is_refused_with_the_way_out(limit: int) -> None:
    with pytest.raises(BadInput, match=f"the limit of {limit} is too low.*ulimit -n"):
        room_for(limit)
