"""The first message of a session. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from littoral import PROTOCOL_VERSION, __version__
from littoral.budget import Budget
from littoral.fleet.v1 import hardware_pb2, session_pb2
from littoral_node.config.settings import NodeSettings
from littoral_node.machine.hardware import HardwareProfile
from littoral_node.machine.wire import budget_to, hardware_to


def hello_to(
    boot_id: str,
    features: Iterable[str],
    hardware: HardwareProfile,
    budgets: Mapping[str, Budget],
    conditions: hardware_pb2.Conditions,
    settings: NodeSettings,
    labelled: int | None,
) -> session_pb2.Hello:
    """`labelled`: examples that this node holds, for any model; None: it takes part in no federated run."""
    limits, (update_window, time_zone) = settings.limits, settings.window
    hello = session_pb2.Hello(
        protocol_version=PROTOCOL_VERSION,
        agent_version=__version__,
        features=features,
        hardware=hardware_to(hardware),
        boot_id=boot_id,
        conditions=conditions,
        update_window=update_window,
        time_zone=time_zone,
        limits=session_pb2.NodeLimits(memory_bytes=limits.memory_bytes, disk_bytes=limits.disk_bytes, requests=limits.requests),
    )
    for model, budget in budgets.items():
        hello.budgets[model].CopyFrom(budget_to(budget))
    if labelled is not None:
        hello.labelled_examples[""] = labelled
    return hello
