"""Gives a service its offload, where some model has a threshold; a node without one imports nothing of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc.aio

from littoral_node.serving.service import Service
from littoral_node.update.job import Kit


def attach_offload(
    service: Service,
    kit: Kit,
    open: Callable[[], grpc.aio.Channel],
    connected: Callable[[], bool],
    metered: Callable[[], bool | None],
    clock: Callable[[], float],
) -> Callable[[], Awaitable[None]]:
    """Gives what closes its channel. Arguments: see OffloadChannel and Offload."""
    settings = kit.settings
    if not settings.offload:
        return _nothing_open
    from littoral_node.offload.channel import OffloadChannel
    from littoral_node.offload.offload import Offload, OffloadTerms
    from littoral_node.offload.samples import SampleFile
    from littoral_node.offload.spending import OffloadBudget

    channel = OffloadChannel(open)
    terms = OffloadTerms(
        thresholds=settings.offload,
        budget=OffloadBudget(settings.offload_per_minute, settings.offload_bytes_per_day),
        deadline_s=settings.offload_deadline,
        on_metered=settings.offload_on_metered,
        keep_inputs=settings.offload_keep_inputs,
    )
    service.offload = Offload(
        terms,
        channel.ask,
        SampleFile(kit.folder.samples, settings.offload_samples),
        kit.counters,
        connected=connected,
        metered=metered,
        clock=clock,
        monotonic=kit.monotonic,
        log=kit.log,
    ).answer
    return channel.close


async def _nothing_open() -> None:
    return
