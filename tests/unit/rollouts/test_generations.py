"""What a node says of its generations orders nothing that the cloud intends."""

from __future__ import annotations

import pytest

from littoral_cloud.fleet.records import Enrolment, Node, Reported, ReportedModel, UpdateState
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.intents import next_generation
from tests.kit.rollout_world import MODEL


@pytest.mark.parametrize(("said", "wanted"), [(60, 61), (3, 5), (2**53, 5), (2**64 - 1, 5)])
def test_a_generation_that_no_cloud_ever_wanted_orders_nothing(said: int, wanted: int) -> None:
    node = Node(
        node_id="a",
        name="a",
        enrolment=Enrolment.ACCEPTED,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=0.0,
        enrolled_at=0.0,
    )
    report = ReportedModel(state=UpdateState.SUCCEEDED, desired_generation=said, target="")
    reported = Reported(generation=1, observed_generation=0, models={MODEL: report})
    assert next_generation(FleetNode(node, reported=reported, desired_generation=4), MODEL) == wanted
