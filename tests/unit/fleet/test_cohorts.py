"""Filters over nodes: pure matching, and refusals that name the part."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadInput
from littoral_cloud.fleet.cohorts import matches, parse_filter, written
from littoral_cloud.fleet.labels import labels_from
from littoral_cloud.fleet.records import Enrolment, Node, Presence

NODE = Node(
    node_id="n1",
    name="cam-07",
    enrolment=Enrolment.ACCEPTED,
    public_key_sha256="",
    certificate_sha256="",
    certificate_expires_at=0.0,
    enrolled_at=0.0,
    labels={"site": "harbour", "class": "old"},
)
PRESENCE = Presence(
    connected=True,
    since=0.0,
    boot_id="",
    agent_version="0.1.0",
    protocol_version=1,
    features=(),
    hardware={},
    hardware_class="x86=4",
    runtimes=(),
    budgets={},
    labelled_examples={},
)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("", True),
        ("site=harbour", True),
        (" site = harbour , name=cam-* ", True),
        ("site=harbour,class=x86=4,version=0.1.0,name=cam-0[0-9]", True),
        ("site:harbour,name:cam-*", True),
        ("label.class=old", True),
        ("class=old", False),
        ("site=airport", False),
        ("site=harbour,name=gate-*", False),
        ("name=CAM-*", False),
        ("site=harb*", False),
        ("floor=1", False),
        ("version=0.1", False),
    ],
)
def test_a_node_matches_where_every_part_does(where: str, found: bool) -> None:
    assert matches(where, NODE, PRESENCE) is found


def test_a_node_that_never_came_has_no_class_and_no_version() -> None:
    assert matches("site=harbour,name=cam-07", NODE, None)
    assert not matches("class=x86=4", NODE, None)
    assert not matches("version=0.1.0", NODE, None)


KEYS = st.from_regex(r"[a-z][a-z0-9._/-]{0,8}", fullmatch=True).filter(lambda key: key not in ("class", "version", "name"))
VALUES = st.text(st.characters(codec="utf-8", exclude_characters=",", exclude_categories=("Z", "C")), min_size=1)
LABELS = st.dictionaries(KEYS.filter(lambda key: not key.startswith("label.")), VALUES, min_size=1, max_size=4)


@given(labels=LABELS, other=LABELS)
def test_a_filter_of_labels_has_the_nodes_with_these_labels_and_no_others(labels: dict[str, str], other: dict[str, str]) -> None:
    where = ",".join(f"{key}={value}" for key, value in labels.items())
    assert matches(where, replace(NODE, labels={**other, **labels}), None)
    assert matches(where, replace(NODE, labels=other), None) == (labels.items() <= other.items())


@given(st.text())
def test_any_text_is_a_filter_or_refused_and_what_is_read_says_what_it_was_read_from(text: str) -> None:
    try:
        parts = parse_filter(text)
    except BadInput:
        return
    assert parse_filter(",".join(f"{key}={value}" for key, value in parts)) == parts


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        ("site", "'site' is not KEY=VALUE"),
        ("site=harbour,", "'' is not KEY=VALUE"),
        ("site=harbour,name=", "'name=' is not KEY=VALUE"),
        ("a b=c", "'a b' is neither class, version, name nor a label"),
        ("site=a,site=b", "'site' comes twice"),
    ],
)
def test_a_bad_filter_is_refused_with_the_part_that_is_wrong(where: str, wrong: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_filter(where)
    assert refused.value.message == f"--where: {wrong}"


def test_labels_are_read_in_both_forms_and_written_in_one() -> None:
    assert labels_from(["site:harbour", "kind=a:b", "url:http=x"]) == {"site": "harbour", "kind": "a:b", "url": "http=x"}
    assert written("site:harbour, name=cam-*") == "site=harbour,name=cam-*"
    for text in ("site", "=x", ":x", "-a=b", "a b=c"):
        with pytest.raises(BadInput, match=r"--label: .* is not KEY=VALUE"):
            labels_from([text], "--label")
