"""Frames between a parent and its child: arrays come over as they were, and what is no frame is refused."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from littoral.errors import TooLarge
from littoral.process.frames import MOST_BODY, MOST_HEAD, BadFrame, packed, receive, send
from littoral.signature import DATATYPES

ARRAYS = st.dictionaries(
    st.text(max_size=8),
    st.sampled_from(sorted(DATATYPES.values(), key=str)).flatmap(
        lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
    ),
    max_size=4,
)


@given(ARRAYS)
def test_every_array_comes_over_as_it_was(arrays: dict[str, Any]) -> None:
    here, there = socket.socketpair()
    with here, there:
        send(here, packed({"do": "run"}, arrays, MOST_BODY))
        head, came = receive(there, MOST_BODY)
    assert head == {"do": "run"}
    assert list(came) == list(arrays)
    for name, array in arrays.items():
        assert came[name].dtype == array.dtype
        assert came[name].shape == array.shape
        assert came[name].tobytes() == array.tobytes()


def test_an_array_is_sent_from_where_it_lies() -> None:
    array = np.zeros((64, 1024), np.float32)
    *_, part = packed({}, {"x": array}, MOST_BODY)
    array[0, 0] = 1.0
    assert bytes(part[:4]) == np.float32(1.0).tobytes()


def test_arrays_that_are_larger_than_any_buffer_come_over_in_parts() -> None:
    arrays = {str(i): np.full((300_000 + i,), i, np.uint8) for i in range(9)}
    here, there = socket.socketpair()
    with here, there:
        sending = threading.Thread(target=lambda: send(here, packed({}, arrays, MOST_BODY)))
        sending.start()
        _, came = receive(there, MOST_BODY)
        sending.join()
    assert all((came[name] == array).all() and len(came[name]) == len(array) for name, array in arrays.items())


@given(st.binary(max_size=200), st.booleans())
def test_what_is_no_frame_is_refused_and_nothing_else(noise: bytes, framed: bool) -> None:
    if framed:
        noise = b"LTRL" + len(noise).to_bytes(4, "little") + bytes(8) + noise
    here, there = socket.socketpair()
    with there:
        with here:
            here.sendall(noise)
        with pytest.raises(BadFrame):
            receive(there, MOST_BODY)


@pytest.mark.parametrize("lengths", [(64, 101), (MOST_HEAD + 64, 0), (1 << 31, 1 << 63)])
def test_a_frame_over_the_bound_is_not_read(lengths: tuple[int, int]) -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(b"LTRL" + lengths[0].to_bytes(4, "little") + lengths[1].to_bytes(8, "little"))
        with pytest.raises(BadFrame, match=f"{lengths[1]:,} bytes, at most"):
            receive(there, 100)
        with pytest.raises(TooLarge):
            packed({}, {"x": np.zeros(101, np.uint8)}, 100)
        with pytest.raises(TooLarge):
            packed({"x": " " * MOST_HEAD}, {}, 100)


def test_an_array_of_objects_is_not_sent() -> None:
    with pytest.raises(TypeError, match="'x' has type object"):
        packed({}, {"x": np.array(["text"], object)}, MOST_BODY)


def test_the_deadline_is_for_the_whole_frame_however_it_trickles() -> None:
    here, there = socket.socketpair()
    ended = threading.Event()

    def trickle() -> None:
        while not ended.wait(0.01):
            here.sendall(b"L")

    trickling = threading.Thread(target=trickle)
    with here, there:
        here.sendall(b"LTRL" + (1 << 17).to_bytes(4, "little") + bytes(8))
        trickling.start()
        try:
            with pytest.raises(TimeoutError):
                receive(there, MOST_BODY, time.monotonic() + 0.1)
        finally:
            ended.set()
            trickling.join()
