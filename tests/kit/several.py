"""The models of one node: what is wanted of each, and what the cloud knows of each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from littoral_cloud.fleet.records import Desired, DesiredModel, Probation, Reported, ReportedModel, load
from littoral_cloud.fleet.telemetry import KIND as TELEMETRY
from littoral_cloud.fleet.telemetry import ServingCounts, TelemetryTotals, telemetry_id
from tests.kit.fleet import Fleet
from tests.kit.patience import PATIENCE_S

NODE = "n1"

ENDS = ("SUCCEEDED", "FAILED", "ROLLED_BACK")


async def want(fleet: Fleet, **models: tuple[str, int, Probation]) -> None:
    """Each model: its manifest, the generation of that wish, and the probation."""
    await fleet.want(
        NODE,
        Desired(
            models={
                name: DesiredModel(manifest_digest=digest, rollout_id="r", generation=generation, probation=probation)
                for name, (digest, generation, probation) in models.items()
            }
        ),
    )


async def reported(fleet: Fleet, **generations: int) -> Mapping[str, ReportedModel]:
    """What the cloud knows, once the update of each named model ended, at that generation."""
    return await until(fleet, {name: (generation, ENDS) for name, generation in generations.items()})


async def until(fleet: Fleet, wanted: Mapping[str, tuple[int, tuple[str, ...]]], **serving: str) -> Mapping[str, ReportedModel]:
    """What the cloud knows, once each model's update came to one of its states, and those named serve these manifests."""
    async with asyncio.timeout(PATIENCE_S), fleet.ledger.watch("reported") as announcements:
        while True:
            if (doc := await fleet.ledger.get("reported", NODE)) is not None:
                models = load(Reported, doc).models
                if all(
                    name in models and models[name].desired_generation == generation and models[name].state in states
                    for name, (generation, states) in wanted.items()
                ) and all(models[name].serving == digest for name, digest in serving.items()):
                    return models
            await anext(announcements)


async def counted(fleet: Fleet, model: str, requests: int) -> ServingCounts:
    """What the cloud has counted of a model, once it is so many requests."""
    async with asyncio.timeout(PATIENCE_S), fleet.ledger.watch(TELEMETRY) as announcements:
        while True:
            doc = await fleet.ledger.get(TELEMETRY, telemetry_id(NODE, model))
            if doc is not None and (totals := load(TelemetryTotals, doc).totals).requests == requests:
                return totals
            await anext(announcements)
