"""Dataclasses from tables: what fits is taken, what does not is named with its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral import decoder, json_text
from littoral.errors import BadInput


@dataclass(frozen=True, slots=True)
class Inner:
    depth: int = 1

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise BadInput(f"depth: {self.depth}", hint="at least 1")


@dataclass(frozen=True, slots=True)
class Settings:
    bits: int
    rate: float = 0.5
    on: bool = False
    kind: Literal["a", "b"] = "a"
    skip: tuple[str, ...] = ()
    pair: tuple[int, float] = (1, 1.0)
    keep: Mapping[str, int | float] = field(default_factory=dict)
    inner: Inner | None = None
    free: Any = None
    made: int = field(default=7, init=False)


def read(**table: Any) -> Settings:
    return decoder.decode(Settings, table, "f.toml: x")


def test_values_of_the_right_types_are_taken() -> None:
    found = read(
        bits=4, rate=1, on=True, kind="b", skip=["p"], pair=[2, 3], keep={"a": 3, "b": 0.5}, inner={"depth": 2}, free=[{}]
    )
    assert found == Settings(4, 1.0, True, "b", ("p",), (2, 3.0), {"a": 3, "b": 0.5}, Inner(2), [{}])
    assert isinstance(found.rate, float)
    assert isinstance(found.keep["a"], int)  # a count stays a count
    assert read(bits=1) == Settings(1)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, r"f\.toml: x\.bits: is missing \(it is a whole number\)"),
        ({"bits": 1, "rat": 2}, r"x\.rat: is not known \(did you mean rate\? known are bits, rate, on"),
        ({"bits": 1, "made": 2}, r"x\.made: is not known"),
        ({"bits": True}, r"x\.bits: True is true or false \(it must be a whole number\)"),
        ({"bits": 1.0}, r"x\.bits: 1\.0 is a number \(it must be a whole number\)"),
        ({"bits": "4"}, r"x\.bits: '4' is a text"),
        ({"bits": 1, "rate": float("nan")}, r"x\.rate: nan is not finite"),
        ({"bits": 1, "rate": float("inf")}, r"x\.rate: inf is not finite"),
        ({"bits": 1, "on": 1}, r"x\.on: 1 is a whole number \(it must be true or false\)"),
        ({"bits": 1, "kind": "c"}, r"x\.kind: 'c' is a text \(it must be 'a' or 'b'\)"),
        ({"bits": 1, "skip": "p"}, r"x\.skip: 'p' is a text \(it must be a list, each a text\)"),
        ({"bits": 1, "skip": ["p", 2]}, r"x\.skip\[1\]: 2 is a whole number"),
        ({"bits": 1, "pair": [1]}, r"x\.pair: holds 1 values \(it must hold 2\)"),
        ({"bits": 1, "keep": {"a": "b"}}, r"x\.keep\.a: 'b' is a text \(it must be a whole number or a number\)"),
        ({"bits": 1, "inner": {"dept": 2}}, r"x\.inner\.dept: is not known \(did you mean depth\?"),
        ({"bits": 1, "inner": {"depth": 0}}, r"x\.inner: depth: 0 \(at least 1\)"),
        ({"bits": 1, "inner": 3}, r"x\.inner: 3 is a whole number \(it must be a table\)"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(table: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        decoder.decode(Settings, table, "f.toml: x")


tables = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["depth", "a", "bits"]), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["bits", "rate", "on", "kind", "skip", "pair", "keep", "inner", "other"]), tables))
def test_whatever_comes_it_is_refused_by_name_or_has_its_types(table: dict[str, Any]) -> None:
    try:
        found = decoder.decode(Settings, table, "x")
    except BadInput:
        return
    assert type(found.bits) is int
    assert type(found.rate) is float
    assert type(found.on) is bool
    assert found.kind in ("a", "b")
    assert isinstance(found.skip, tuple)
    assert decoder.decode(Settings, {k: v for k, v in table.items() if k in asdict(found)}, "x") == found


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Kept:
    inner: Inner
    colour: Colour = Colour.RED
    sizes: tuple[int, ...] = ()
    note: str | None = None

    def __post_init__(self) -> None:
        if any(size < 0 for size in self.sizes):
            raise decoder.BadField("sizes[0]", "is negative", hint="count from 0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', "f.json: is not JSON: the key 'a' stands twice"),
        ('{"a": NaN}', "f.json: is not JSON: NaN is no number"),
        ('{"a": -Infinity}', "is no number"),
        ('{"a": 1e999}', "1e999 is no number"),
        ("[" * 100_000, "is not JSON"),
        ("{", "is not JSON"),
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        json_text.parse(text, "f.json")
    assert said in refused.value.message


def test_what_is_written_plain_is_read_back() -> None:
    kept = Kept(Inner(3), Colour.RED, (1, 2))
    body = decoder.plain(kept)
    assert body == {"inner": {"depth": 3}, "colour": "red", "sizes": [1, 2], "note": None}
    assert decoder.decode(Kept, json_text.parse(json.dumps(body), "x"), "x") == kept


def test_a_rule_of_a_dataclass_names_its_field() -> None:
    with pytest.raises(BadInput, match=r"^x\.inner: is missing"):
        decoder.decode(Kept, {}, "x")
    with pytest.raises(BadInput, match=r"^x\.sizes\[0\]: is negative \(count from 0\)$"):
        decoder.decode(Kept, {"inner": {}, "sizes": [-1]}, "x")
    with pytest.raises(BadInput, match=r"^x\.colour: 'blue' is a text \(it must be 'red'\)$"):
        decoder.decode(Kept, {"inner": {}, "colour": "blue"}, "x")
