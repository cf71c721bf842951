"""Words of the wire and the domain's values, both ways."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from littoral.budget import Budget
from littoral.errors import BadInput
from littoral.fleet.v1 import hardware_pb2, session_pb2
from littoral.transport import MAX_MESSAGE_BYTES
from littoral_cloud.api import wire
from littoral_cloud.fleet.deferral import ReportedDeferral
from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.fleet.records import Desired, DesiredModel, FederatedTask, Presence, Reported, UpdateState, dump, load
from littoral_cloud.fleet.sessions import Reason, SessionRefusal
from littoral_node.machine.wire import budget_to

MANIFEST = "sha256:" + "a" * 64


def test_every_reason_and_state_has_its_name_on_the_wire() -> None:
    for reason in Reason:
        assert session_pb2.RefusalReason.Name(wire.refusal_to(SessionRefusal(reason, "x")).reason) == f"REFUSAL_REASON_{reason}"
    on_the_wire = set(UpdateState) - {UpdateState.DEFERRED}  # PENDING there, so that older clouds know it
    assert {f"UPDATE_STATE_{state}" for state in on_the_wire} == set(session_pb2.UpdateState.keys())
    assert set(session_pb2.RefusalReason.keys()) == {f"REFUSAL_REASON_{reason}" for reason in Reason} | {
        "REFUSAL_REASON_UNSPECIFIED"
    }


def test_a_pending_update_that_the_node_puts_off_is_deferred_until_it_goes_on() -> None:
    def heard(state: str, until_unix_ms: int) -> Reported:
        deferral = session_pb2.Deferral(reason="busy", until_unix_ms=until_unix_ms)
        model = session_pb2.ReportedModel(state=f"UPDATE_STATE_{state}", deferral=deferral)
        return wire.reported_from(session_pb2.ReportedState(models={"m": model}), "b" * 32)

    put_off, gone_on, under_way = (heard(*each).models["m"] for each in (("PENDING", 5_000), ("PENDING", 0), ("PROBATION", 0)))
    assert (put_off.state, put_off.deferral) == (UpdateState.DEFERRED, ReportedDeferral(reason="busy", until=5.0))
    assert (gone_on.state, gone_on.deferral) == (UpdateState.PENDING, ReportedDeferral(reason="busy"))
    assert under_way.state is UpdateState.PROBATION
    [older] = wire.reported_from(session_pb2.ReportedState(models={"m": session_pb2.ReportedModel()}), "b" * 32).models.values()
    assert older.deferral is None


def test_a_node_says_when_it_takes_updates_and_an_older_one_says_nothing() -> None:
    said = session_pb2.Hello(boot_id="b" * 32, update_window="Mon 01:00-02:00", time_zone="Europe/Berlin")
    presence = wire.presence_from(said, 1.0)
    assert (presence.update_window, presence.time_zone) == ("Mon 01:00-02:00", "Europe/Berlin")
    older = wire.presence_from(session_pb2.Hello(boot_id="b" * 32), 1.0)
    assert (older.update_window, older.time_zone) == ("", "")


def test_a_limit_that_is_absent_bounds_nothing_and_one_of_zero_does() -> None:
    hello = session_pb2.Hello(boot_id="b" * 32, budgets={"": session_pb2.Budget(), "m": session_pb2.Budget(artifact_bytes=0)})
    presence = wire.presence_from(hello, 1.0)
    assert presence.budgets == {"": Budget(), "m": Budget(artifact_bytes=0)}
    assert presence.budget_for("other") == Budget()


@given(
    st.builds(
        Budget,
        latency_ms=st.one_of(st.none(), st.floats(0, 1e9)),
        artifact_bytes=st.one_of(st.none(), st.integers(0, 2**63)),
        peak_rss_bytes=st.one_of(st.none(), st.integers(0, 2**63)),
        energy_mj=st.one_of(st.none(), st.floats(0, 1e9)),
        runtimes=st.lists(st.sampled_from(("ncnn", "onnxruntime")), unique=True).map(tuple),
        worst_class=st.one_of(st.none(), st.floats(0, 1)),
    )
)
def test_a_budget_comes_over_the_wire_and_out_of_the_ledger_as_the_node_meant_it(budget: Budget) -> None:
    hello = session_pb2.Hello(boot_id="b" * 32, budgets={"": budget_to(budget)})
    heard = session_pb2.Hello()
    heard.ParseFromString(hello.SerializeToString())
    presence = wire.presence_from(heard, 1.0)
    assert presence.budget_for("m") == budget
    assert load(Presence, Doc("presence", "n", 1, json.loads(json.dumps(dump(presence))))).budget_for("m") == budget


@pytest.mark.parametrize("fraction", [1.01, -0.1, float("nan"), float("inf")])
def test_a_worst_class_that_is_no_fraction_is_refused(fraction: float) -> None:
    hello = session_pb2.Hello(boot_id="b" * 32, budgets={"": session_pb2.Budget(worst_class=fraction)})
    with pytest.raises(BadInput, match=r"hello\.budgets\.worst_class"):
        wire.presence_from(hello, 1.0)


def test_hardware_is_kept_under_the_names_of_the_protocol() -> None:
    profile = hardware_pb2.HardwareProfile(
        cpu_model="x", cpu_millis=1500, isa=["avx2"], hardware_class="c", runtimes=[{"name": "ncnn", "version": "1"}]
    )
    presence = wire.presence_from(session_pb2.Hello(boot_id="b" * 32, hardware=profile), 1.0)
    assert presence.hardware["cpu_millis"] == 1500
    assert (presence.runtimes, presence.hardware_class) == (("ncnn",), "c")
    assert dump(presence)["hardware"]["runtimes"] == [{"name": "ncnn", "version": "1"}]


def test_what_should_be_goes_down_whole() -> None:
    task = FederatedTask(run_id="r", message_id="m", message_digest=MANIFEST, message_bytes=7, round=2)
    model = DesiredModel(manifest_digest=MANIFEST, rollout_id="ro", generation=4)
    word = wire.desired_to(9, Desired(models={"digits": model}, benchmarks=(MANIFEST,), federated=task))
    assert (word.generation, word.models["digits"].generation, word.models["digits"].rollout_id) == (9, 4, "ro")
    assert word.models["digits"].probation.duration_s == model.probation.duration_s
    assert (word.federated.message_id, word.federated.round) == ("m", 2)
    assert not wire.desired_to(9, Desired()).HasField("federated")


def test_any_number_of_trials_makes_one_small_word() -> None:
    word = wire.desired_to(1, Desired(benchmarks=tuple(f"sha256:{n:064x}" for n in range(5000))))
    assert word.ByteSize() < MAX_MESSAGE_BYTES


@given(st.binary(max_size=300))
def test_no_bytes_that_are_a_word_break_more_than_their_session(data: bytes) -> None:
    """A hostile word is either taken, as something the ledger can hold, or refused by name."""
    word = session_pb2.ConnectRequest()
    try:
        word.ParseFromString(data)
    except DecodeError:
        return
    translate = {
        "hello": lambda: wire.presence_from(word.hello, 0.0),
        "reported": lambda: wire.reported_from(word.reported),
        "telemetry": lambda: wire.report_from(word.telemetry),
        "measurement": lambda: wire.measurement_from(word.measurement, "n", 0.0),
        "federated_reply": lambda: wire.answer_from(word.federated_reply),
    }.get(word.WhichOneof("message") or "")
    if translate is None:
        return
    try:
        value = translate()
    except BadInput as error:
        assert error.message  # noqa: PT017 - either outcome is right
        return
    if isinstance(value, Presence | Reported):
        assert json.loads(json.dumps(dump(value))) is not None


def test_a_sketch_whose_counts_do_not_add_up_is_refused() -> None:
    sketch = session_pb2.InputSketch(sketch_id="s", features=2, bins=2, counts=[1, 1, 2, 1], examples=2)
    word = session_pb2.TelemetryReport(boot_id="a" * 32, sequence=1, model_name="m", inputs=sketch)
    with pytest.raises(BadInput, match="add up to 2"):
        wire.report_from(word)
    sketch.counts[2] = 1
    word.inputs.CopyFrom(sketch)
    report = wire.report_from(word)
    assert report.inputs is not None
    assert report.inputs.counts.tolist() == [[1, 1], [1, 1]]


def test_a_report_that_was_kept_as_it_came_reads_the_same() -> None:
    word = session_pb2.TelemetryReport(boot_id="ab" * 16, sequence=7, model_name="m", requests=3, class_counts=[1, 2])
    word.inputs.CopyFrom(session_pb2.InputSketch(sketch_id="5e", features=2, bins=2, counts=[1, 2, 3, 0], examples=3))
    first, again = wire.report_from(word), wire.report_read(word.SerializeToString())
    assert first.inputs is not None
    assert again.inputs is not None
    assert (first.inputs.counts == again.inputs.counts).all()
    assert replace(first, inputs=None).class_counts == replace(again, inputs=None).class_counts == (1, 2)
    assert (again.boot_id, again.sequence, again.requests) == (word.boot_id, 7, 3)
