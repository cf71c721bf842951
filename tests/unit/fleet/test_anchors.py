"""When the next CA and signing key come into force, and when the CA before is retired."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import Conflict
from littoral_cloud.fleet.anchors import (
    FleetAnchors,
    due_at,
    knowing,
    known_by_all,
    lines,
    step,
    with_authority,
    with_signing_key,
)
from littoral_cloud.fleet.key_records import AuthorityRecord, SigningKeyRecord, encoded
from littoral_cloud.fleet.records import Enrolment, Node

NOW = 1_800_000_000.0
OVERLAP_S = 700.0
FIRST = FleetAnchors(
    authorities=(AuthorityRecord(certificate=encoded(b"ca-1"), introduced_at=NOW, in_force_at=NOW),),
    signing_keys=(SigningKeyRecord(public_key=encoded(b"key-1"), introduced_at=NOW, in_force_at=NOW),),
    overlap_s=OVERLAP_S,
)
SECOND_CA = AuthorityRecord(certificate=encoded(b"ca-2"), introduction=encoded(b"by ca-1"))
SECOND_KEY = SigningKeyRecord(public_key=encoded(b"key-2"), introduction="by key-1")


def node(name: str, anchors: int, enrolment: Enrolment = Enrolment.ACCEPTED) -> Node:
    return Node(
        node_id=name,
        name=name,
        enrolment=enrolment,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=0.0,
        enrolled_at=0.0,
        anchors=anchors,
    )


def test_it_comes_into_force_when_every_accepted_node_knows_it() -> None:
    anchors = with_authority(FIRST, SECOND_CA, NOW)
    nodes = [node("a", 1), node("b", 0), node("gone", 0, Enrolment.DECOMMISSIONED)]
    assert knowing(nodes, 1) == (1, 2)
    assert step(anchors, NOW + 1, known_by_all(nodes, anchors.number)) == anchors
    nodes[1] = node("b", 1)
    after = step(anchors, NOW + 2, known_by_all(nodes, anchors.number))
    assert (after.authority.certificate, after.authority.in_force_at, after.number) == (encoded(b"ca-2"), NOW + 2, 1)
    assert [line.action for line in lines(anchors, after)] == ["fleet.ca-in-force"]


def test_after_the_overlap_it_is_in_force_though_a_node_is_away_and_after_another_the_old_one_is_retired() -> None:
    anchors = with_authority(FIRST, SECOND_CA, NOW)
    assert due_at(anchors) == NOW + OVERLAP_S
    assert step(anchors, NOW + OVERLAP_S - 1, 0) == anchors
    in_force = step(anchors, NOW + OVERLAP_S, 0)
    assert (in_force.authority.certificate, in_force.told.retired) == (encoded(b"ca-2"), ())
    assert due_at(in_force) == NOW + 2 * OVERLAP_S
    retired = step(in_force, NOW + 2 * OVERLAP_S, 0)
    assert (len(retired.told.retired), retired.number, due_at(retired)) == (1, 2, float("inf"))
    assert [line.action for line in lines(in_force, retired)] == ["fleet.ca-retired"]
    assert retired.told.authorities == (b"ca-1", b"ca-2")


def test_a_signing_key_is_never_retired() -> None:
    anchors = step(with_signing_key(FIRST, SECOND_KEY, NOW), NOW + 1, 1)
    assert anchors.signing_key.public_key == encoded(b"key-2")
    assert [line.action for line in lines(FIRST, anchors)] == ["fleet.signing-key-in-force"]
    assert step(anchors, NOW + 1e9, 1) == anchors
    assert due_at(anchors) == float("inf")


def test_both_at_one_time_do_not_wait_for_each_other() -> None:
    anchors = with_signing_key(with_authority(FIRST, SECOND_CA, NOW), SECOND_KEY, NOW + 1)
    assert (anchors.number, anchors.authorities[1].number, anchors.signing_keys[1].number) == (2, 1, 2)
    after = step(anchors, NOW + 2, 1)
    assert (after.next_authority, after.next_signing_key) == (None, anchors.signing_keys[1])


def test_a_second_one_waits_for_the_first() -> None:
    anchors = with_signing_key(with_authority(FIRST, SECOND_CA, NOW), SECOND_KEY, NOW)
    with pytest.raises(Conflict, match=r"CA .* is introduced and not in force yet"):
        with_authority(anchors, SECOND_CA, NOW)
    with pytest.raises(Conflict, match=r"signing key .* is introduced and not in force yet"):
        with_signing_key(anchors, SECOND_KEY, NOW)


def test_a_node_of_an_old_agent_gets_its_certificate_of_the_ca_that_it_knows() -> None:
    anchors = step(with_authority(FIRST, SECOND_CA, NOW), NOW + OVERLAP_S, 0)
    assert anchors.issuer_for(0).certificate == encoded(b"ca-1")
    assert anchors.issuer_for(1).certificate == encoded(b"ca-2")
    assert with_authority(FIRST, SECOND_CA, NOW).issuer_for(1).certificate == encoded(b"ca-1")


def test_a_second_intermediate_of_one_root_tells_nodes_of_no_second_root_and_retires_none() -> None:
    root = encoded(b"the owner's root")
    first = replace(FIRST, authorities=(replace(FIRST.authorities[0], root=root),))
    anchors = with_authority(first, AuthorityRecord(certificate=encoded(b"ca-2"), root=root), NOW)
    after = step(step(anchors, NOW + OVERLAP_S, 0), NOW + 2 * OVERLAP_S, 0)
    assert after.authorities[0].retired_at
    assert (after.told.authorities, after.told.introductions, after.told.retired) == ((b"the owner's root",), (), ())


@given(st.lists(st.tuples(st.floats(0, 3000), st.integers(0, 4)), max_size=8))
def test_one_ca_is_always_in_force_and_is_never_retired(moments: list[tuple[float, int]]) -> None:
    anchors = with_signing_key(with_authority(FIRST, SECOND_CA, NOW), SECOND_KEY, NOW)
    for after_s, known in moments:
        later = step(anchors, NOW + after_s, known)
        assert later.authority.in_force_at
        assert not later.authority.retired_at
        assert later.number >= anchors.number
        assert step(later, NOW + after_s, known) == later
        anchors = later
