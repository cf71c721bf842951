"""Gives a service its offload, where some model has a threshold; a node without one imports nothing of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from littoral_node.config.settings import NodeSettings
from littoral_node.identity.folder import NodeFolder
from littoral_node.serving.service import Service
from littoral_node.telemetry.counting import TelemetryWindows


def attach_offload(
    service: Service, settings: NodeSettings, folder: NodeFolder, telemetry: TelemetryWindows, **parts: Any
) -> Callable[[], Awaitable[None]]:
    """Gives what closes its channel.

    Args:
        parts: the others of `build.offload_from`.
    """
    if not settings.offload:
        return _nothing_open
    from littoral_node.offload.build import offload_from

    service.offload, close = offload_from(settings, folder, telemetry, **parts)
    return close


async def _nothing_open() -> None:
    return
