from __future__ import annotations

from dataclasses import replace

import pytest

from littoral_cloud.fleet.nodes import NodeView
from littoral_cloud.fleet.records import Enrolment, Node

DAY_S = 86_400.0


def view(days_left: float, enrolment: Enrolment = Enrolment.ACCEPTED) -> NodeView:
    node = Node(
        node_id="n",
        name="buoy",
        enrolment=enrolment,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=1e9 + days_left * DAY_S,
        enrolled_at=0.0,
    )
    return NodeView(node=node, presence=None, models=(), problem="")


@pytest.mark.parametrize(
    ("days_left", "words"),
    [
        (90, ""),
        (7, ""),
        (6.9, "certificate expires in 7 days"),
        (0.5, "certificate expires in 0 days"),
        (0, "certificate expired 0 days ago"),
        (-10, "certificate expired 10 days ago"),
    ],
)
def test_an_operator_is_warned_a_week_before_a_certificate_ends(days_left: float, words: str) -> None:
    assert view(days_left).certificate_warning(1e9) == words


def test_a_short_certificate_is_not_warned_of_before_it_is_to_be_renewed() -> None:
    young = view(3)
    young = replace(young, node=replace(young.node, renewed_at=1e9))
    assert young.certificate_warning(1e9 + 2 * DAY_S) == ""
    assert young.certificate_warning(1e9 + 2.6 * DAY_S) == "certificate expires in 0 days"


def test_nobody_is_warned_of_a_node_that_is_out() -> None:
    assert view(-10, Enrolment.DECOMMISSIONED).certificate_warning(1e9) == ""
