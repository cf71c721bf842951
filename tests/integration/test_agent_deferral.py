"""A real agent puts an update off while its battery is low, says so, and goes on by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral_cloud.fleet.nodes import view_nodes
from littoral_cloud.fleet.profile import presence_of
from littoral_cloud.fleet.records import Desired, DesiredModel, UpdateState
from littoral_node.identity.folder import NodeFolder
from tests.kit.agent import MODEL, NODE, QUICK, AgentProcess, Maker, reported
from tests.kit.fleet import Fleet
from tests.kit.machine import Machine

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")


async def want(fleet: Fleet, digest: str, generation: int, defer_s: float) -> None:
    wanted = DesiredModel(manifest_digest=digest, rollout_id="r", generation=generation, probation=QUICK, defer_s=defer_s)
    await fleet.want(NODE, Desired(models={MODEL: wanted}))


@pytest.mark.slow
async def test_an_update_waits_for_the_battery_over_a_kill_of_the_agent_and_for_no_longer_than_it_may(
    fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path
) -> None:
    machine, first, second = Machine(tmp_path / "machine"), maker.artifact("first"), maker.artifact("second")
    machine.unplugged(10)
    flags = ("--machine-root", str(machine.root), "--update-window", "Mon-Fri 01:00-05:00", "--time-zone", "Europe/Berlin")
    agent = await (await AgentProcess.start(folder.root, *flags)).ready()
    await want(fleet, first, 1, defer_s=3_600.0)
    put_off = await reported(fleet, 1, "DEFERRED", "SUCCEEDED", "FAILED")
    assert put_off.state is UpdateState.DEFERRED
    assert put_off.deferral is not None
    assert put_off.deferral.reason == "battery_low"
    assert 3_500 < put_off.deferral.until - fleet.clock() <= 3_600
    assert "update.deferred" in [line.action for line in await fleet.ledger.audit()]
    [shown] = (await view_nodes(fleet.ledger, fleet.clock()))[0].models
    assert (shown.state, shown.reason, shown.put_off_until) == (UpdateState.DEFERRED, "battery_low", put_off.deferral.until)
    presence = await presence_of(fleet.ledger, NODE)
    assert presence is not None
    assert (presence.update_window, presence.time_zone) == ("Mon-Fri 01:00-05:00", "Europe/Berlin")

    await agent.kill()
    agent = await (await AgentProcess.start(folder.root, *flags)).ready()
    await agent.until("session-open")
    again = await reported(fleet, 1, "DEFERRED", "SUCCEEDED", "FAILED")
    assert again.deferral == put_off.deferral, "one limit, over the restart"
    machine.plugged(10)
    done = await reported(fleet, 1, "SUCCEEDED", "FAILED")
    assert (done.state, done.serving) == ("SUCCEEDED", first)
    assert done.deferral is not None
    assert done.deferral.until == 0

    machine.unplugged(10)
    await agent.until("conditions", holds="battery_low,on_battery")
    await want(fleet, second, 2, defer_s=0.5)
    done = await reported(fleet, 2, "SUCCEEDED", "FAILED")
    assert (done.state, done.serving) == ("SUCCEEDED", second)
    assert await agent.stop() == 0
