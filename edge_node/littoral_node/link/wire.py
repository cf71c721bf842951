"""From this agent's values to the wire's messages. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from littoral import PROTOCOL_VERSION, __version__
from littoral.budget import Budget
from littoral.fleet.v1 import hardware_pb2, session_pb2
from littoral.quota import Whole
from littoral_node.machine.hardware import HardwareProfile
from littoral_node.runtimes.facts import Facts
from littoral_node.telemetry.counting import TelemetryReport


def budget_to(budget: Budget) -> session_pb2.Budget:
    word = session_pb2.Budget(
        latency_ms=budget.latency_ms,
        artifact_bytes=budget.artifact_bytes,
        peak_rss_bytes=budget.peak_rss_bytes,
        energy_mj=budget.energy_mj,
        runtimes=budget.runtimes,
        worst_class=budget.worst_class,
    )
    if budget.share is not None or budget.disk_bytes is not None:
        word.share.CopyFrom(session_pb2.OwnShare(fraction=budget.share, disk_bytes=budget.disk_bytes))
    return word


def hardware_to(profile: HardwareProfile) -> hardware_pb2.HardwareProfile:
    return hardware_pb2.HardwareProfile(
        machine=profile.machine,
        cpu_model=profile.cpu_model,
        cpu_millis=profile.cpu_millis,
        isa=profile.isa,
        memory_bytes=profile.memory_bytes,
        storage_free_bytes=profile.storage_free_bytes,
        operating_system=profile.operating_system,
        libc=profile.libc,
        runtimes=[runtime_to(name, facts) for name, facts in profile.facts],
        hardware_class=profile.hardware_class,
        threads=profile.threads,
        accelerators=[hardware_pb2.Accelerator(kind=a.kind, name=a.name, device=a.device) for a in profile.accelerators],
        energy_counters=[
            hardware_pb2.EnergyCounter(name=c.name, readable=c.readable, why=c.why) for c in profile.energy_counters
        ],
        has_battery=profile.has_battery,
    )


def runtime_to(name: str, found: Facts) -> hardware_pb2.Runtime:
    return hardware_pb2.Runtime(
        name=name,
        version=found.version,
        highest_ir=found.highest_ir,
        highest_opset=found.highest_opset,
        devices=found.devices,
    )


def hello_to(
    boot_id: str,
    features: Iterable[str],
    hardware: HardwareProfile,
    budgets: Mapping[str, Budget],
    conditions: hardware_pb2.Conditions,
    whole: Whole,
    labelled: int | None,
) -> session_pb2.Hello:
    """`labelled`: examples that this node holds, for whatever model; None: it takes part in nothing."""
    hello = session_pb2.Hello(
        protocol_version=PROTOCOL_VERSION,
        agent_version=__version__,
        features=features,
        hardware=hardware_to(hardware),
        boot_id=boot_id,
        conditions=conditions,
        whole=session_pb2.Whole(memory_bytes=whole.memory_bytes, disk_bytes=whole.disk_bytes, requests=whole.requests),
    )
    for model, budget in budgets.items():
        hello.budgets[model].CopyFrom(budget_to(budget))
    if labelled is not None:
        hello.labelled_examples[""] = labelled
    return hello


def report_to(report: TelemetryReport, boot_id: str, sequence: int) -> session_pb2.TelemetryReport:
    word = session_pb2.TelemetryReport(
        boot_id=boot_id,
        sequence=sequence,
        window_start_unix_ms=round(report.window_start * 1_000),
        window_end_unix_ms=round(report.window_end * 1_000),
        model_name=report.model,
        manifest_digest=report.manifest_digest,
        requests=report.requests,
        failed_requests=report.failed_requests,
        latency_counts=report.latency_counts,
        class_counts=report.class_counts,
        rss_bytes=report.rss_bytes,
        cpu_seconds=report.cpu_seconds,
        joint_asked=report.joint_asked,
        joint_answered=report.joint_answered,
    )
    if report.inputs is not None:
        features, bins = report.inputs.counts.shape
        word.inputs.CopyFrom(
            session_pb2.InputSketch(
                sketch_id=report.inputs.sketch_id,
                features=features,
                bins=bins,
                counts=report.inputs.counts.reshape(-1).tolist(),
                examples=report.inputs.examples,
            )
        )
    return word
