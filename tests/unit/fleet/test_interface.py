"""Whether a client that was written for one artifact is understood by another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.signature import DATATYPES
from littoral.tensor_spec import FREE, TensorSpec
from littoral_cloud.fleet.interface import ANY_NUMBER, Interface, breaks

X, Y = TensorSpec("x", "FP32", (FREE, 4)), TensorSpec("y", "FP32", (FREE, 3))
BASE = Interface((X,), (Y,), ("a", "b", "c"))


def with_input(*shape: int, name: str = "x", datatype: str = "FP32", resized: bool = False) -> Interface:
    return Interface((TensorSpec(name, datatype, shape),), (Y,), BASE.labels, resized)


def with_output(*shape: int, name: str = "y", datatype: str = "FP32") -> Interface:
    return Interface((X,), (TensorSpec(name, datatype, shape),), BASE.labels)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (with_input(FREE, 4, name="image"), "wants an input 'image'"),
        (with_input(FREE, 5), "input 'x' becomes [any, 5], is [any, 4]"),
        (with_input(1, 4), "input 'x' becomes [1, 4], is [any, 4]"),
        (with_input(FREE, 4, 1), "input 'x' becomes [any, 4, 1], is [any, 4]"),
        (with_input(FREE, 4, datatype="INT64"), "input 'x' becomes INT64, is FP32"),
        (Interface((X, TensorSpec("rate", "FP32", ())), (Y,), BASE.labels), "wants an input 'rate'"),
        (with_output(FREE, 3, name="logits"), "has no output 'y'"),
        (with_output(FREE, 4), "output 'y' becomes FP32 [any, 4], is FP32 [any, 3]"),
        (with_output(FREE, 3, datatype="FP64"), "output 'y' becomes FP64 [any, 3], is FP32 [any, 3]"),
        (Interface((X,), (Y,), ("b", "a", "c")), "labels [a, b, c] become [b, a, c]"),
        (Interface((X,), (Y,), ()), "labels [a, b, c] become []"),
    ],
)
def test_what_a_client_does_not_survive_is_said(after: Interface, said: str) -> None:
    assert said in breaks(BASE, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BASE, with_input(FREE, FREE)),
        (BASE, with_input(FREE, 4, datatype=ANY_NUMBER)),
        (BASE, with_input(FREE, 9, resized=True)),
        (with_output(FREE, FREE), with_output(FREE, 7)),
        (BASE, Interface((X,), (Y, TensorSpec("more", "INT64", (FREE,))), BASE.labels)),
        (BASE, None),
        (None, BASE),
    ],
)
def test_taking_more_and_answering_more_breaks_nobody(before: Interface | None, after: Interface | None) -> None:
    assert breaks(before, after) == ()


def test_images_of_any_size_cannot_become_images_of_one() -> None:
    assert breaks(with_input(FREE, 1, 8, 8, resized=True), with_input(FREE, 1, 8, 8))
    assert not breaks(with_input(FREE, 1, 8, 8, resized=True), with_input(FREE, 3, 16, 16, resized=True))


SPECS = st.builds(
    TensorSpec,
    st.sampled_from("ab"),
    st.sampled_from([*DATATYPES, ANY_NUMBER]),
    st.lists(st.sampled_from([FREE, 0, 1, 3]), max_size=4).map(tuple),
)
TENSORS = st.lists(SPECS, min_size=1, max_size=2, unique_by=lambda spec: spec.name).map(tuple)
INTERFACES = st.builds(Interface, TENSORS, TENSORS, st.lists(st.sampled_from("xyz"), max_size=3).map(tuple), st.booleans())


@given(INTERFACES)
def test_nothing_changes_for_the_clients_of_the_same(same: Interface) -> None:
    assert breaks(same, same) == ()


@given(INTERFACES, INTERFACES, INTERFACES)
def test_who_survives_two_changes_survives_both_at_once(one: Interface, two: Interface, three: Interface) -> None:
    if not breaks(one, two) and not breaks(two, three):
        assert breaks(one, three) == ()
