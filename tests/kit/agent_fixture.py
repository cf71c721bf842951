"""Fixtures for tests of real agents: a fleet, who makes artifacts for it, and one enrolled folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from littoral_cloud.fleet.ledger import Ledger
from littoral_node.identity.folder import NodeFolder
from tests.kit.agent import NODE, Maker
from tests.kit.fleet import Fleet, open_fleet


@pytest.fixture
async def fleet(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(ledger, tmp_path / "blobs", heartbeat_s=1.0) as opened:
        yield opened


@pytest.fixture
def maker(fleet: Fleet) -> Maker:
    return Maker(fleet)


@pytest.fixture
async def folder(maker: Maker, tmp_path: Path) -> NodeFolder:
    return await maker.enrol(tmp_path / "node", NODE)
