"""cloud/compose/first_release.py over a real ledger: what it rolls out is meant for the fleet, also for nodes scaled up later."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from littoral_cloud.app import Core, open_core
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.records import dump, load
from littoral_cloud.rollouts.commands import start_rollout
from littoral_cloud.rollouts.state import KIND, Rollout, RolloutPolicy, RolloutState
from littoral_cloud.settings import load_settings
from tests.kit.patience import PATIENCE_S
from tests.kit.rollout_world import World, artifact

SCRIPT = Path(__file__).parents[3] / "cloud" / "compose" / "first_release.py"


@pytest.fixture(scope="module")
def first_release() -> Any:
    spec = importlib.util.spec_from_file_location("first_release", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Core]:
    monkeypatch.setenv("LITTORAL_DATA_DIR", str(tmp_path))
    async with open_core(load_settings()) as opened:
        yield opened


async def a_fleet(core: Core, policy: RolloutPolicy) -> None:
    """A release of `digits` that a rollout with this policy kept, and two nodes, of which one serves it."""
    best = artifact("best")
    world = World([best], start=core.clock())
    release = world.release(1, best)
    world.add_node("served", serving=best.manifest_digest)
    world.add_node("late")
    await core.ledger.commit(Change(tuple(Write(doc.kind, doc.id, doc.body, None) for doc in world.docs.values())))
    await end(core, await start_rollout(core.ledger, release, core.clock(), policy))


async def end(core: Core, rollout_id: str) -> None:
    doc = await core.ledger.get(KIND, rollout_id)
    assert doc is not None
    ended = replace(load(Rollout, doc), state=RolloutState.SUCCEEDED, ended_at=core.clock())
    await core.ledger.commit(Change((Write(KIND, rollout_id, dump(ended), doc.generation),)))


async def test_what_was_promoted_for_the_fleet_is_not_rolled_out_again(
    core: Core, first_release: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_fleet(core, RolloutPolicy())
    assert await first_release.main() == 0
    assert "digits-1 was promoted for the fleet: whoever joins gets it" in capsys.readouterr().out
    assert len(await core.ledger.all(KIND)) == 1


async def test_what_went_to_named_nodes_alone_is_rolled_out_to_everybody(core: Core, first_release: Any) -> None:
    await a_fleet(core, RolloutPolicy(nodes=("served",)))
    async with asyncio.timeout(PATIENCE_S), core.ledger.watch(KIND) as news:
        running = asyncio.create_task(first_release.main())
        while len(found := await core.ledger.all(KIND)) < 2:
            await anext(news)
        [new] = [doc for doc in found if load(Rollout, doc).state is RolloutState.PENDING]
        assert (load(Rollout, new).release_id, load(Rollout, new).policy.nodes) == ("digits-1", ())
        await end(core, new.id)
        assert await running == 0
