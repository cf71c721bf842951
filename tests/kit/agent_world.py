"""Fixtures for tests of real agents: a fleet, who makes artifacts for it, one enrolled folder, and what it is told and tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud.fleet.ledger import Ledger
from cloud.fleet.records import Desired, DesiredModel, Probation, Reported, ReportedModel, load
from edge_node.store import NodeFolder
from tests.kit.agent import MODEL, Maker
from tests.kit.fleet import Fleet, open_fleet

QUICK = Probation(duration_s=0.3)
NODE = "n1"


@pytest.fixture
async def fleet(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(ledger, tmp_path / "blobs", heartbeat_s=1.0) as opened:
        yield opened


@pytest.fixture
def maker(fleet: Fleet) -> Maker:
    return Maker(fleet)


@pytest.fixture
async def folder(maker: Maker, tmp_path: Path) -> NodeFolder:
    return await maker.enrol(tmp_path / "node")


async def want(fleet: Fleet, digest: str, generation: int, probation: Probation = QUICK) -> None:
    model = DesiredModel(manifest_digest=digest, rollout_id="r", generation=generation, probation=probation)
    await fleet.want(NODE, Desired(models={MODEL: model}))


async def reported(fleet: Fleet, generation: int, *states: str, serving: str = "") -> ReportedModel:
    """What the cloud knows of the model, once its update of this generation came to one of these states."""
    async with asyncio.timeout(30), fleet.ledger.watch("reported") as announcements:
        while True:
            if (doc := await fleet.ledger.get("reported", NODE)) is not None:
                model = load(Reported, doc).models.get(MODEL)
                seen = model is not None and model.desired_generation == generation and model.state in states
                if seen and model is not None and model.serving == (serving or model.serving):
                    return model
            await anext(announcements)
