"""From this machine's values to the messages of the session."""

from __future__ import annotations

from littoral.budget import Budget
from littoral.fleet.v1 import hardware_pb2, session_pb2
from littoral_node.machine.hardware import HardwareProfile


def budget_to(budget: Budget) -> session_pb2.Budget:
    message = session_pb2.Budget(
        latency_ms=budget.latency_ms,
        artifact_bytes=budget.artifact_bytes,
        peak_rss_bytes=budget.peak_rss_bytes,
        energy_mj=budget.energy_mj,
        runtimes=budget.runtimes,
        worst_class=budget.worst_class,
    )
    if budget.quota is not None or budget.disk_bytes is not None:
        message.quota.CopyFrom(session_pb2.Quota(fraction=budget.quota, disk_bytes=budget.disk_bytes))
    return message


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
        runtimes=[
            hardware_pb2.Runtime(
                name=name,
                version=found.version,
                highest_ir=found.highest_ir,
                highest_opset=found.highest_opset,
                devices=found.devices,
            )
            for name, found in profile.facts
        ],
        hardware_class=profile.hardware_class,
        threads=profile.threads,
        accelerators=[hardware_pb2.Accelerator(kind=a.kind, name=a.name, device=a.device) for a in profile.accelerators],
        energy_counters=[
            hardware_pb2.EnergyCounter(name=c.name, readable=c.readable, reason=c.why) for c in profile.energy_counters
        ],
        has_battery=profile.has_battery,
    )
