#!/usr/bin/env python
"""See to it that this project's nodes serve something: train a small `digits` once, roll it out to those without a model.

Where there is a release of `digits` already (any, also one of yours), nothing is trained. Where every node that is there serves a
model of that name, nothing is rolled out. So it may run at every `up`, and again after nodes were added:

    docker compose run --rm first-release

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

from cloud.app import Core, open_core
from cloud.data.sources import load_mnist
from cloud.factory.production import make_students
from cloud.factory.recipes import DEMO
from cloud.factory.weights import arrays_of, weights_bytes
from cloud.fleet.nodes import view_nodes
from cloud.fleet.records import Release
from cloud.fleet.releases import all_releases, create_release, publish
from cloud.rollouts.controller import start_rollout, wait
from cloud.rollouts.state import State
from cloud.settings import load_settings
from littoral.errors import FleetError

MNIST = Path(os.environ.get("MNIST", "/usr/share/littoral/mnist"))
STUDENT = "cnn-s"
QUICK = replace(
    DEMO,
    teacher=replace(DEMO.teacher, epochs=1),
    students=tuple(replace(student, epochs=1) for student in DEMO.students if student.name == STUDENT),
    at_once=1,
)


def say(text: str) -> None:
    print(f"first-release: {text}", flush=True)


async def release_made(core: Core) -> Release:
    """The newest release of the model; made now where there is none."""
    if there := [release for release in await all_releases(core.ledger) if release.model == QUICK.model]:
        say(f"{there[-1].release_id} is there")
        return there[-1]
    say(f"training a teacher and {STUDENT} on {MNIST}, one epoch each")
    made = await asyncio.to_thread(make_students, load_mnist(MNIST), QUICK)
    weights = weights_bytes(arrays_of(made.students[0].module))
    digests = []
    for packaged in made.packaged:
        artifact = await publish(core, packaged, core.clock(), weights=weights, data=str(MNIST))
        say(f"{artifact.name} for {artifact.runtime}: {artifact.accuracy:.2%}, {artifact.artifact_bytes:,} bytes")
        digests.append(artifact.manifest_digest)
    return await create_release(core.ledger, QUICK.model, digests, "initial", "one epoch, to begin with", core.clock())


async def without_model(core: Core) -> list[str]:
    """Names of the nodes that are there and serve no model of this name."""
    return [
        view.node.name
        for view in await view_nodes(core.ledger)
        if view.state == "online" and not any(served.model == QUICK.model and served.student for served in view.models)
    ]


async def main() -> int:
    if os.environ.get("FIRST_RELEASE") == "none":
        say("FIRST_RELEASE=none: nothing to do")
        return 0
    torch.set_num_threads(1)  # what the container may have of the machine, not what the machine has
    async with open_core(load_settings(), clock=time.time) as core:  # noqa: TID251 - a command; the clock comes in here
        release = await release_made(core)
        if not (waiting := await without_model(core)):
            say("every node that is there serves it")
            return 0
        say(f"rolling {release.release_id} out to {', '.join(waiting)}")
        rollout = await wait(core.ledger, await start_rollout(core.ledger, release, core.clock()))
        say(f"rollout {rollout.state}{': ' + rollout.reason if rollout.reason else ''}")
        return 0 if rollout.state is State.SUCCEEDED else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except FleetError as error:
        print(f"first-release: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
