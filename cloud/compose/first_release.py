#!/usr/bin/env python
"""See to it that this project's nodes serve something: train a small `digits` once, and roll it out to the fleet.

Where there is a release of `digits` already (any, also one of yours), nothing is trained. Where one of them was promoted for the
whole fleet, nothing is rolled out: nodes that join later get it from the coordinator, by themselves. So it may run at every `up`.

FIRST_RELEASE=none: do nothing at all.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from littoral.errors import FleetError
from littoral_cloud.app import Core, open_core
from littoral_cloud.data.sources import load_mnist
from littoral_cloud.factory.production import make_students
from littoral_cloud.fleet.nodes import view_nodes
from littoral_cloud.fleet.records import Node, Release, load
from littoral_cloud.recipes.recipe import DEMO
from littoral_cloud.releases.catalogue import all_releases
from littoral_cloud.releases.release import release_made
from littoral_cloud.rollouts.commands import policy_with, start_rollout, wait
from littoral_cloud.rollouts.state import KIND, Rollout, RolloutState
from littoral_cloud.settings import load_settings

MNIST = Path(os.environ.get("MNIST", "data/mnist"))
STUDENT = "cnn-s"
PROBATION_S = 3.0  # its nodes serve nothing yet
QUICK = replace(
    DEMO,
    teacher=replace(DEMO.teacher, epochs=1),
    students=tuple(replace(student, epochs=1) for student in DEMO.students if student.name == STUDENT),
    at_once=1,
)


def say(text: str) -> None:
    print(f"first-release: {text}", flush=True)


async def passed_rollouts(core: Core) -> list[Rollout]:
    """Of the model, those that succeeded."""
    rollouts = [load(Rollout, doc) for doc in await core.ledger.all(KIND)]
    return [rollout for rollout in rollouts if rollout.model == QUICK.model and rollout.state is RolloutState.SUCCEEDED]


async def release_to_serve(core: Core) -> Release:
    """The newest release of the model that passed a rollout, else the newest; made now where there is none."""
    if there := [release for release in await all_releases(core.ledger) if release.model == QUICK.model]:
        passed = {rollout.release_id for rollout in await passed_rollouts(core)}
        release = next((release for release in reversed(there) if release.release_id in passed), there[-1])
        say(f"{release.release_id} is there")
        return release
    say(f"training a teacher and {STUDENT} on {MNIST}, one epoch each")
    made = await asyncio.to_thread(make_students, load_mnist(MNIST), QUICK)
    for packaged in made.packaged:
        manifest = packaged.manifest
        say(f"{manifest.name} for {manifest.runtime}: {manifest.accuracy:.2%}, {manifest.artifact_bytes:,} bytes")
    return await release_made(core, made, core.clock(), kind="initial", note="one epoch, to begin with", data=str(MNIST))


async def without_model(core: Core) -> list[Node]:
    """The nodes that are there and serve no model of this name."""
    return [
        view.node
        for view in await view_nodes(core.ledger, core.clock())
        if view.state == "online" and not any(served.model == QUICK.model and served.student for served in view.models)
    ]


async def main() -> int:
    if os.environ.get("FIRST_RELEASE") == "none":
        say("FIRST_RELEASE=none: nothing to do")
        return 0
    torch.set_num_threads(1)  # what the container may have of the machine, not what the machine has
    async with open_core(load_settings(), clock=time.time) as core:  # noqa: TID251 - a command; the clock comes in here
        if promoted := [rollout for rollout in await passed_rollouts(core) if not rollout.policy.nodes]:
            newest = max(promoted, key=lambda rollout: rollout.began)
            say(f"{newest.release_id} was promoted for the fleet: whoever joins gets it")
            return 0
        release = await release_to_serve(core)
        if not (waiting := await without_model(core)):
            say("every node that is there serves it")
            return 0
        say(f"rolling {release.release_id} out: {', '.join(node.name for node in waiting)} serve nothing")
        rollout = await wait(core.ledger, await start_rollout(core.ledger, release, core.clock(), policy_with(PROBATION_S)))
        say(f"rollout {rollout.state}{': ' + rollout.reason if rollout.reason else ''}")
        return 0 if rollout.state is RolloutState.SUCCEEDED else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except FleetError as error:
        print(f"first-release: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
