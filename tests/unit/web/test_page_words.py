"""How figures and states are written on a page, and how a lineage is drawn."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral_cloud.web import charts
from littoral_cloud.web.graph_layout import HIGH, WIDE, drawn
from littoral_cloud.web.words import milliseconds, moment, percent, shape_of, size


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1 kB"),
        (14_231, "14.2 kB"),
        (999_600, "1 MB"),
        (3e12, "3 TB"),
        (5e15, "5000 TB"),
    ],
)
def test_bytes_are_short(count: float | None, words: str) -> None:
    assert size(count) == words


def test_figures_that_are_missing_are_dashes() -> None:
    assert (milliseconds(None), percent(None), moment(None), moment("")) == ("–", "–", "–", "–")
    assert (milliseconds(0.0354), milliseconds(1_234.4), percent(0.9751, 2)) == ("0.0354 ms", "1,234 ms", "97.51 %")


def test_a_state_has_the_shape_of_its_worst_word() -> None:
    assert shape_of("online") == "good"
    assert shape_of("online, quarantined") == "warn"
    assert shape_of("cloned, quarantined") == "bad"
    assert shape_of("ROLLED_BACK") == "warn"
    assert shape_of("a word of a later release") == "off"


def test_a_child_stands_right_of_every_parent() -> None:
    found = drawn(["data", "a", "b", "release"], [("data", "a"), ("a", "b"), ("a", "release"), ("b", "release")])
    at = {id: box.x for id, box in found.boxes.items()}
    assert at["data"] < at["a"] < at["b"] < at["release"]


IDS = st.sampled_from("abcdefgh")


@given(st.lists(IDS, unique=True), st.lists(st.tuples(IDS, IDS)))
def test_boxes_do_not_overlap_and_lie_in_the_drawing(ids: list[str], edges: list[tuple[str, str]]) -> None:
    """Also where edges close circles, or name what is no box."""
    found = drawn(ids, edges)
    assert set(found.boxes) == set(ids)
    places = [(box.x, box.y) for box in found.boxes.values()]
    assert len(set(places)) == len(places)
    assert all(x + WIDE <= found.width and y + HIGH <= found.height + 8 for x, y in places)
    assert {(line.parent, line.child) for line in found.lines} == {
        (parent, child) for parent, child in edges if parent in ids and child in ids and parent != child
    }


def test_a_chart_has_one_place_for_each_value() -> None:
    given = json.loads(charts.points("kB", "%", {"front": [(2.0, 97.0), (1.0, 90.0)], "beaten": [(2.0, 80.0)]}, log=False))
    assert given["at"] == [1.0, 2.0]
    assert [each["values"] for each in given["series"]] == [[90.0, 97.0], [None, 80.0]]
