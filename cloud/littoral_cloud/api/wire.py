"""Between the wire's messages and the domain's values, both ways. What comes in is checked here; nothing is decided here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from google.protobuf.json_format import MessageToDict

from littoral.budget import Budget
from littoral.digest import check_digest
from littoral.errors import BadInput
from littoral.fleet.v1 import hardware_pb2, session_pb2
from littoral.quota import REQUESTS, NodeLimits
from littoral.sketch import Counted
from littoral.trust_anchors import ToldAnchors
from littoral_cloud.api.fields import cleaned, finite, finite_given, given, printed
from littoral_cloud.api.wire_evidence import evidence_from
from littoral_cloud.fleet.deferral import ReportedDeferral
from littoral_cloud.fleet.evidence import ProbationResult
from littoral_cloud.fleet.measurements import MeasurementRecord
from littoral_cloud.fleet.records import Desired, Presence, Reported, ReportedModel, UpdateState
from littoral_cloud.fleet.sessions import MAX_GENERATION, PROTOCOL_MAX, PROTOCOL_MIN, FederatedAnswer, SessionRefusal
from littoral_cloud.fleet.telemetry import MAX_SKETCH_CELLS, WindowReport, check_boot_id, check_model_name

MAX_BENCHMARKS = 256
"""Manifests to be measured that one word names: the rest follows when these are done."""

_MAX_MODELS = 64


def presence_from(hello: session_pb2.Hello, now: float) -> Presence:
    """Raises BadInput, naming the field."""
    check_boot_id(hello.boot_id, "hello.boot_id")
    return Presence(
        connected=True,
        since=now,
        boot_id=hello.boot_id,
        agent_version=printed(hello.agent_version, 100),
        protocol_version=hello.protocol_version,
        features=tuple(printed(feature, 100) for feature in hello.features[:_MAX_MODELS]),
        hardware=hardware_from(hello.hardware),
        hardware_class=printed(hello.hardware.hardware_class, 100),
        runtimes=tuple(printed(runtime.name, 100) for runtime in hello.hardware.runtimes),
        budgets=budgets_from(hello.budgets, "hello.budgets"),
        labelled_examples=labelled_from(hello.labelled_examples, "hello.labelled_examples"),
        conditions=conditions_from(hello.conditions),
        limits=limits_from(hello.limits),
        update_window=printed(hello.update_window, 200),
        time_zone=printed(hello.time_zone, 64),
        connection=hello.connection,
    )


def anchors_to(told: ToldAnchors) -> session_pb2.TrustAnchors:
    return session_pb2.TrustAnchors(
        number=told.number,
        authorities=told.authorities,
        introductions=told.introductions,
        retired=told.retired,
        signing_keys=told.signing_keys,
        retired_keys=told.retired_keys,
    )


def limits_from(limits: session_pb2.NodeLimits) -> NodeLimits:
    return NodeLimits(
        memory_bytes=given(limits, "memory_bytes"),
        disk_bytes=given(limits, "disk_bytes"),
        requests=limits.requests or REQUESTS,
    )


def labelled_from(examples: Mapping[str, int], field: str) -> dict[str, int]:
    """Labelled examples by model name. Raises BadInput, naming the field."""
    _check_models(examples, field)
    return dict(examples)


def budgets_from(budgets: Mapping[str, session_pb2.Budget], field: str) -> dict[str, Budget]:
    """By model name. Raises BadInput, naming the field."""
    _check_models(budgets, field)
    return {name: budget_from(budget, field) for name, budget in budgets.items()}


def _check_models(names: Collection[str], field: str) -> None:
    """ "" stands for every model that is not named."""
    if len(names) > _MAX_MODELS:
        raise BadInput(f"{field}: names more than {_MAX_MODELS} models")
    for name in set(names) - {""}:
        check_model_name(name, field)


def conditions_from(conditions: hardware_pb2.Conditions) -> dict[str, Any]:
    """As JSON with the names of the proto's fields; what is no number is left out. Raises BadInput for too many."""
    if len(conditions.in_force) > _MAX_MODELS:
        raise BadInput(f"conditions.in_force: names more than {_MAX_MODELS}")
    body: dict[str, Any] = MessageToDict(conditions, preserving_proto_field_name=True)
    known = {
        name: value for name, value in body.items() if name not in ("battery_percent", "celsius") or isinstance(value, float)
    }
    return known | ({"in_force": [printed(name, 100) for name in conditions.in_force]} if conditions.in_force else {})


def hardware_from(profile: hardware_pb2.HardwareProfile) -> dict[str, Any]:
    """As JSON with the names of the proto's fields."""
    body: dict[str, Any] = cleaned(MessageToDict(profile, preserving_proto_field_name=True))
    return body


def budget_from(budget: session_pb2.Budget, field: str) -> Budget:
    """Raises BadInput, naming the field."""
    worst, fraction = given(budget, "worst_class"), given(budget.quota, "fraction")
    if worst is not None and not 0 <= worst <= 1:
        raise BadInput(f"{field}.worst_class: {worst} is not a fraction between 0 and 1")
    if fraction is not None and not 0 < fraction <= 1:
        raise BadInput(f"{field}.quota: {fraction} is not a fraction between 0 and 1")
    return Budget(
        latency_ms=finite_given(budget, "latency_ms", field),
        artifact_bytes=given(budget, "artifact_bytes"),
        peak_rss_bytes=given(budget, "peak_rss_bytes"),
        energy_mj=finite_given(budget, "energy_mj", field),
        runtimes=tuple(printed(runtime, 100) for runtime in budget.runtimes),
        worst_class=worst,
        quota=fraction,
        disk_bytes=given(budget.quota, "disk_bytes"),
    )


def desired_to(generation: int, desired: Desired) -> session_pb2.DesiredState:
    message = session_pb2.DesiredState(generation=generation, benchmarks=desired.benchmarks[:MAX_BENCHMARKS])
    for name, model in desired.models.items():
        message.models[name].CopyFrom(
            session_pb2.DesiredModel(
                manifest_digest=model.manifest_digest,
                rollout_id=model.rollout_id,
                generation=model.generation,
                defer_s=model.defer_s,
                probation=session_pb2.ProbationPolicy(**asdict(model.probation)),
            )
        )
    if (task := desired.federated) is not None:
        message.federated.CopyFrom(
            session_pb2.FederatedTask(
                run_id=task.run_id,
                message_id=task.message_id,
                message_digest=task.message_digest,
                message_bytes=task.message_bytes,
                round=task.round,
            )
        )
    return message


def refusal_to(refused: SessionRefusal) -> session_pb2.Refusal:
    return session_pb2.Refusal(
        reason=f"REFUSAL_REASON_{refused.reason.value}",
        detail=refused.detail,
        retry_after_s=refused.retry_after_s,
        protocol_min=PROTOCOL_MIN,
        protocol_max=PROTOCOL_MAX,
    )


def reported_from(word: session_pb2.ReportedState, boot_id: str) -> Reported:
    """`boot_id`: of the session's hello. Raises BadInput, naming the field."""
    if len(word.models) > _MAX_MODELS:
        raise BadInput(f"reported.models: {len(word.models)} models, at most {_MAX_MODELS}")
    return Reported(
        generation=word.generation,
        observed_generation=word.observed_generation,
        models={check_model_name(name, "reported.models"): _model_from(model) for name, model in word.models.items()},
        problem=printed(word.problem),
        boot_id=boot_id,
    )


def _model_from(model: session_pb2.ReportedModel) -> ReportedModel:
    for field in ("target_manifest_digest", "serving_manifest_digest", "previous_manifest_digest"):
        if getattr(model, field):
            check_digest(getattr(model, field), f"reported.models.{field}")
    if model.desired_generation > MAX_GENERATION:
        raise BadInput(f"reported.models.desired_generation: {model.desired_generation} was never wanted")
    return ReportedModel(
        state=_state_from(model),
        desired_generation=model.desired_generation,
        target=model.target_manifest_digest,
        serving=model.serving_manifest_digest,
        previous=model.previous_manifest_digest,
        reason=printed(model.reason, 100),
        detail=printed(model.detail),
        probation=_probation_from(model.probation) if model.HasField("probation") else None,
        memory_bytes=model.usage.memory_bytes,
        disk_bytes=model.usage.disk_bytes,
        crashes=model.crashes,
        hangs=model.hangs,
        incident=printed(model.incident),
        deferral=ReportedDeferral(reason=printed(model.deferral.reason, 100), until=model.deferral.until_unix_ms / 1_000)
        if model.HasField("deferral")
        else None,
        evidence=evidence_from(model.evidence) if model.HasField("evidence") else None,
    )


def _state_from(model: session_pb2.ReportedModel) -> UpdateState:
    if model.state == session_pb2.UPDATE_STATE_PENDING and model.deferral.until_unix_ms:
        return UpdateState.DEFERRED
    try:
        return UpdateState(session_pb2.UpdateState.Name(model.state).removeprefix("UPDATE_STATE_"))
    except ValueError as error:
        raise BadInput(f"reported.models.state: {model.state} is no state of an update") from error


def _probation_from(result: session_pb2.ProbationResult) -> ProbationResult:
    return ProbationResult(
        accuracy=finite_given(result, "accuracy", "reported.probation"),
        previous_accuracy=finite_given(result, "previous_accuracy", "reported.probation"),
        examples=result.examples,
        requests=result.requests,
        failed_requests=result.failed_requests,
    )


def measurement_from(word: session_pb2.Measurement, node_id: str, now: float) -> MeasurementRecord:
    """Raises BadInput, naming the field."""
    return MeasurementRecord(
        manifest_digest=check_digest(word.manifest_digest, "measurement.manifest_digest"),
        node_id=node_id,
        hardware_class=printed(word.hardware_class, 100),
        failure=printed(word.failure, 100),
        detail=printed(word.detail),
        p50_ms=finite(word.p50_ms, "measurement.p50_ms"),
        p95_ms=finite(word.p95_ms, "measurement.p95_ms"),
        p99_ms=finite(word.p99_ms, "measurement.p99_ms"),
        peak_rss_bytes=word.peak_rss_bytes,
        start_ms=finite(word.start_ms, "measurement.start_ms"),
        samples=word.samples,
        load_average=finite(word.load_average, "measurement.load_average"),
        runtime_version=printed(word.runtime_version, 100),
        energy_mj=finite_given(word, "energy_mj", "measurement"),
        energy_source=printed(word.energy_source, 100),
        measured_at=now,
    )


def report_from(word: session_pb2.TelemetryReport) -> WindowReport:
    """Raises BadInput, naming the field."""
    return WindowReport(
        boot_id=word.boot_id,
        sequence=word.sequence,
        window_start=word.window_start_unix_ms / 1_000,
        window_end=word.window_end_unix_ms / 1_000,
        model=word.model_name,
        manifest_digest=word.manifest_digest,
        requests=word.requests,
        failed_requests=word.failed_requests,
        latency_counts=tuple(word.latency_counts),
        class_counts=tuple(word.class_counts),
        inputs=_sketch_from(word.inputs) if word.HasField("inputs") and word.inputs.examples else None,
        rss_bytes=word.rss_bytes,
        cpu_seconds=finite(word.cpu_seconds, "telemetry.cpu_seconds"),
        offload_asked=word.offload_asked,
        offload_answered=word.offload_answered,
    )


def report_read(message: bytes) -> WindowReport:
    """A TelemetryReport that was stored as it came: a quarter of the size of what `report_from` makes of it. Raises as that."""
    return report_from(session_pb2.TelemetryReport.FromString(message))


def _sketch_from(sketch: session_pb2.InputSketch) -> Counted:
    cells = sketch.features * sketch.bins
    if not 0 < cells <= MAX_SKETCH_CELLS or len(sketch.counts) != cells:
        raise BadInput(f"telemetry.inputs: {len(sketch.counts)} counts for {sketch.features} features of {sketch.bins} bins")
    counts = np.fromiter(sketch.counts, np.uint32, cells).reshape(sketch.features, sketch.bins)
    if (counts.sum(axis=1, dtype=np.uint64) != sketch.examples).any():
        raise BadInput(f"telemetry.inputs: a feature's counts do not add up to {sketch.examples} examples")
    return Counted(printed(sketch.sketch_id, 64), counts, sketch.examples)


def answer_from(word: session_pb2.FederatedReply) -> FederatedAnswer:
    """Raises BadInput, naming the field."""
    if bool(word.reply_digest) == bool(word.failure):
        raise BadInput("federated_reply: must carry either reply_digest or failure")
    if word.reply_digest:
        check_digest(word.reply_digest, "federated_reply.reply_digest")
    return FederatedAnswer(word.run_id, word.message_id, word.reply_digest, printed(word.failure, 100), printed(word.detail))
