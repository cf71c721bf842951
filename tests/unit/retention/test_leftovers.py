from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.records import (
    Desired,
    DesiredModel,
    Enrolment,
    Node,
    Release,
    Reported,
    ReportedModel,
    UpdateState,
)
from littoral_cloud.fleet.telemetry import telemetry_id
from littoral_cloud.retention.leftovers import (
    DAY_S,
    NodesView,
    of_models_that_are_gone,
    of_nodes_that_are_out,
    old_measurements,
)

NOW = 10 * DAY_S
DIGESTS = ("released", "wanted", "measured", "target", "serving", "previous", "old")


def node(id: str, enrolment: Enrolment) -> Node:
    return Node(
        node_id=id,
        name=id,
        enrolment=enrolment,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=9e9,
        enrolled_at=0.0,
    )


SEEN = NodesView(
    {
        "here": node("here", Enrolment.ACCEPTED),
        "waits": node("waits", Enrolment.PENDING),
        "out": node("out", Enrolment.DECOMMISSIONED),
    },
    {
        "here": Desired(
            models={"digits": DesiredModel(manifest_digest="wanted", rollout_id="r", generation=1)}, benchmarks=("measured",)
        )
    },
    {
        "here": Reported(
            generation=1,
            observed_generation=1,
            models={
                "gears": ReportedModel(
                    state=UpdateState.FAILED, desired_generation=1, target="target", serving="serving", previous="previous"
                )
            },
        )
    },
    {"r1": Release(release_id="r1", model="digits", kind="manual", artifacts=("released",), created_at=0.0)},
)


@given(st.sampled_from(DIGESTS), st.sampled_from(["here", "waits", "out", "new"]), st.floats(0, NOW))
def test_a_measurement_goes_with_its_node_or_when_nothing_uses_its_artifact(digest: str, node_id: str, at: float) -> None:
    record = MeasurementRecord(manifest_digest=digest, node_id=node_id, hardware_class="c", measured_at=at)
    id = measurement_id(digest, node_id)
    goes = node_id == "out" or (digest == "old" and at < NOW - DAY_S)
    assert list(old_measurements({id: record}, SEEN, NOW)) == ([id] if goes else [])


def test_documents_of_a_node_that_is_out_go() -> None:
    assert list(of_nodes_that_are_out(("here", "waits", "out", "new"), SEEN)) == ["out"]


@given(st.sampled_from(["here", "waits", "out", "new"]), st.sampled_from(["digits", "gears", "former"]), st.floats(0, NOW))
def test_telemetry_goes_with_its_node_or_its_model(node_id: str, model: str, at: float) -> None:
    doc = Doc("telemetry", telemetry_id(node_id, model), 1, {"last_report_at": at})
    known = node_id == "here" and model != "former"
    goes = node_id == "out" or (node_id != "new" and not known and at < NOW - DAY_S)
    assert list(of_models_that_are_gone([doc], "last_report_at", SEEN, NOW)) == ([doc] if goes else [])


def test_what_has_no_time_stays() -> None:
    doc = Doc("telemetry", telemetry_id("here", "former"), 1, {})
    assert list(of_models_that_are_gone([doc], "last_report_at", SEEN, NOW)) == []
