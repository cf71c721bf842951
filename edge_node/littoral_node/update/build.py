"""What all updates of an agent share, built from the settings."""

from __future__ import annotations

import random
from collections.abc import Callable

from littoral_node.artifacts.repository import Artifacts
from littoral_node.artifacts.usage import NodeUsage
from littoral_node.config.settings import NodeSettings
from littoral_node.identity.files import Damaged
from littoral_node.identity.folder import NodeFolder
from littoral_node.machine.hardware import HardwareProfile
from littoral_node.machine.overlay import widest
from littoral_node.serving.slots import Slots
from littoral_node.supervision.crash_record import CrashBook
from littoral_node.supervision.watchdog import Watchdog
from littoral_node.update.job import Counters, Kit


def kit_from(
    settings: NodeSettings,
    folder: NodeFolder,
    artifacts: Artifacts,
    slots: Slots,
    counters: Counters,
    hardware: Callable[[], HardwareProfile],
    threads: int,
    monotonic: Callable[[], float],
    rng: random.Random,
    log: Callable[..., None],
    damaged: Damaged,
) -> Kit:
    """Arguments: see Kit."""
    overlays, crashes = tuple(settings.overlays().values()), CrashBook(folder.root / "crashes.json", log, damaged)
    return Kit(
        artifacts=artifacts,
        slots=slots,
        counters=counters,
        crashes=crashes,
        watchdog=Watchdog(settings.inference_limit, crashes.hung),
        hardware=hardware,
        budgets={name: widest(budget, overlays) for name, budget in settings.node_budgets().items()},
        usage=NodeUsage(folder, settings.limits, settings.node_budgets(), slots, artifacts, log, damaged),
        labelled=settings.labelled,
        threads=threads,
        limit_s=settings.inference_limit,
        monotonic=monotonic,
        rng=rng,
        log=log,
        damaged=damaged,
    )
