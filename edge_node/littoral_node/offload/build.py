"""Joint inference, built from the settings. Imported where some model has a threshold: it costs nothing while off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc.aio

from littoral_node.config.settings import NodeSettings
from littoral_node.identity.folder import NodeFolder
from littoral_node.offload.channel import JointChannel
from littoral_node.offload.offload import Joint, Terms
from littoral_node.offload.samples import HintFile
from littoral_node.offload.spending import Allowance
from littoral_node.serving.service import Second
from littoral_node.telemetry.counting import TelemetryWindows


def joint_from(
    settings: NodeSettings,
    folder: NodeFolder,
    telemetry: TelemetryWindows,
    open: Callable[[], grpc.aio.Channel],
    *,
    connected: Callable[[], bool],
    metered: Callable[[], bool | None],
    clock: Callable[[], float],
    monotonic: Callable[[], float],
    log: Callable[..., None],
) -> tuple[Second, Callable[[], Awaitable[None]]]:
    """(gives a second answer, closes what was opened). Arguments: see Joint."""
    channel = JointChannel(open)
    terms = Terms(
        thresholds=settings.joint,
        allowance=Allowance(settings.joint_per_minute, settings.joint_bytes_per_day),
        deadline_s=settings.joint_deadline,
        on_metered=settings.joint_on_metered,
        keep_inputs=settings.joint_keep_inputs,
    )
    joint = Joint(
        terms,
        channel.ask,
        HintFile(folder.hints, settings.joint_hints),
        telemetry,
        connected=connected,
        metered=metered,
        clock=clock,
        monotonic=monotonic,
        log=log,
    )
    return joint.second, channel.close
