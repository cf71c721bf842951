"""Offload, built from the settings. Imported where some model has a threshold: it costs nothing while off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc.aio

from littoral_node.config.settings import NodeSettings
from littoral_node.identity.folder import NodeFolder
from littoral_node.offload.channel import OffloadChannel
from littoral_node.offload.offload import Offload, OffloadTerms
from littoral_node.offload.samples import SampleFile
from littoral_node.offload.spending import OffloadBudget
from littoral_node.serving.service import OffloadCall
from littoral_node.telemetry.counting import TelemetryWindows


def offload_from(
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
) -> tuple[OffloadCall, Callable[[], Awaitable[None]]]:
    """(gives a second answer, closes what was opened). Arguments: see Offload."""
    channel = OffloadChannel(open)
    terms = OffloadTerms(
        thresholds=settings.offload,
        budget=OffloadBudget(settings.offload_per_minute, settings.offload_bytes_per_day),
        deadline_s=settings.offload_deadline,
        on_metered=settings.offload_on_metered,
        keep_inputs=settings.offload_keep_inputs,
    )
    offload = Offload(
        terms,
        channel.ask,
        SampleFile(folder.samples, settings.offload_samples),
        telemetry,
        connected=connected,
        metered=metered,
        clock=clock,
        monotonic=monotonic,
        log=log,
    )
    return offload.answer, channel.close
