"""The node's labelled folder: what is read, what is refused, and that held-out examples stay held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadData
from littoral_node.federation.labelled import Count, count, read_labelled, split

SHAPE = (1, 4, 4)


def save(folder: Path, name: str, x: Any, y: Any) -> None:
    np.savez(folder / name, x=x, y=y)


def test_files_are_read_in_the_order_of_their_names_and_counted_without_being_read(tmp_path: Path) -> None:
    save(tmp_path, "2.npz", np.full((2, 4, 4), 2, np.uint8), np.array([2, 2]))
    save(tmp_path, "1.npz", np.full((3, 1, 4, 4), 1, np.uint8), np.array([1, 1, 1], np.uint8))
    x, y = read_labelled(tmp_path, SHAPE)
    assert x.shape == (5, 1, 4, 4)
    assert y.tolist() == x[:, 0, 0, 0].tolist() == [1, 1, 1, 2, 2]
    assert count(tmp_path) == 5
    assert count(tmp_path / "nowhere") == 0


@pytest.mark.parametrize(
    ("x", "y", "why"),
    [
        (np.zeros((2, 4, 4), np.float32), np.zeros(2, int), "x must be uint8"),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(3, int), "2 examples but 3 labels"),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2), "y must be one row of integers"),
        (np.zeros((2, 4, 4), np.uint8), np.array([0, -1]), "classes count from 0"),
        (np.zeros((2, 4, 4), np.uint8), np.array([0, 2**63], np.uint64), "y holds 9223372036854775808"),
        (np.zeros((2, 5, 4), np.uint8), np.zeros(2, int), "the model takes"),
        (np.zeros((2, 3, 4, 4), np.uint8), np.zeros(2, int), "the model takes"),
        (np.array([{}, {}]), np.zeros(2, int), "Object arrays cannot be loaded"),
    ],
)
def test_what_is_not_labelled_data_is_refused_by_file_and_reason(tmp_path: Path, x: Any, y: Any, why: str) -> None:
    save(tmp_path, "bad.npz", x, y)
    with pytest.raises(BadData, match=why) as refused:
        read_labelled(tmp_path, SHAPE)
    assert "bad.npz" in refused.value.message


def test_an_empty_folder_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"no \.npz file"):
        read_labelled(tmp_path, SHAPE)
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut off")
    for read in (lambda: read_labelled(tmp_path, SHAPE), lambda: count(tmp_path)):
        with pytest.raises(BadData, match=r"cut\.npz"):
            read()
    with (tmp_path / "cut.npz").open("wb") as file:
        np.save(file, np.zeros(3))  # one array, no archive
    with pytest.raises(BadData, match=r"cut\.npz"):
        read_labelled(tmp_path, SHAPE)


@given(st.integers(0, 200))
def test_every_fifth_example_is_held_out_and_growing_a_folder_moves_none_of_them(size: int) -> None:
    x, y = np.arange(size, dtype=np.int64).astype(np.uint8).reshape(-1, 1, 1, 1), np.arange(size)
    (_, trained), (held_x, held) = split(x, y)
    assert held.tolist() == list(range(4, size, 5))
    assert len(held_x) == len(held)
    assert sorted([*trained, *held]) == list(range(size))


def test_a_folder_is_counted_again_where_files_came_and_what_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    counted = Count(tmp_path, lambda event, **fields: told.append(event))
    assert counted() == 0
    save(tmp_path, "1.npz", np.zeros((3, 4, 4), np.uint8), np.array([1, 1, 1]))
    assert counted() == 3
    (tmp_path / "2.npz").write_bytes(b"PK")
    assert (counted(), counted(), told) == (None, None, ["labelled-unreadable"])
    (tmp_path / "2.npz").unlink()
    assert counted() == 3
    assert Count(None, told.append)() is None
