"""The demo, act by act. Each act does one thing of the loop for real and hands on what the next needs.

Most of it is only watching: once drift is seen, the coordinator's own loop (littoral_cloud/loop.py) starts the federated run,
makes
the release and rolls it out.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from littoral.errors import FleetError
from littoral_cloud.app import Core
from littoral_cloud.data.dataset import Dataset, Examples
from littoral_cloud.data.shards import dirichlet_shards, rotate
from littoral_cloud.demo import evidence
from littoral_cloud.demo.participants import DRIFT_DEGREES, Machine
from littoral_cloud.demo.processes import Actor, Stage
from littoral_cloud.demo.report import TeacherRow
from littoral_cloud.demo.terminal import Screen
from littoral_cloud.factory.production import Made, make_students, ruin
from littoral_cloud.federation.run import Run, RunState
from littoral_cloud.fleet.drift import Inputs
from littoral_cloud.fleet.ledger import Doc, until
from littoral_cloud.fleet.records import Presence, Release, load
from littoral_cloud.recipes.recipe import Production
from littoral_cloud.releases.release import release_made
from littoral_cloud.rollouts.controller import start_rollout
from littoral_cloud.rollouts.state import ENDED, Rollout, State

# Bounds, so that a demo ends; not what it takes. On a machine with much else to do each act may take many times as long.
CONNECT_WAIT_S = 180.0
DRIFT_WAIT_S = 600.0
ROLLOUT_WAIT_S = 600.0
RUN_WAIT_S = 600.0
BASELINE_WAIT_S = 600.0


class Interrupted(FleetError):
    """The demo was told to end."""

    code = "interrupted"
    exit_code = 130


@dataclass(frozen=True, slots=True, eq=False)
class Shards:
    """What each node holds: labelled images from before the drift, and (where it drifts) as many from after it."""

    before: Mapping[str, Examples]
    after: Mapping[str, Examples]


def shard(held_back: Examples, machines: Sequence[Machine], alpha: float, seed: int) -> Shards:
    """Non-IID: each class is shared out over the nodes by a Dirichlet draw. A drifted node's later half is rotated."""
    parts = dirichlet_shards(held_back.y, len(machines), alpha, np.random.default_rng(seed))
    before, after = {}, {}
    for machine, index in zip(machines, parts, strict=True):
        x, y = held_back.x[index], held_back.y[index]
        if not machine.drifts:
            before[machine.name] = Examples(x, y)
            continue
        half = len(y) // 2
        before[machine.name] = Examples(x[:half], y[:half])
        after[machine.name] = Examples(rotate(x[half:], DRIFT_DEGREES), y[half:])
    return Shards(before, after)


def hand_out(stage: Stage, name: str, part: str, examples: Examples) -> None:
    """Labelled images appear in a node's folder, as an annotator would leave them there."""
    target = stage.labelled_dir(name) / f"{part}.npz"
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".part")
    with draft.open("wb") as file:
        np.savez_compressed(file, x=examples.x, y=examples.y)
    draft.replace(target)


async def raise_coordinator(stage: Stage, screen: Screen, *, loop: bool) -> None:
    screen.act("A coordinator and its machines")
    await stage.start_coordinator(loop=loop)
    screen.say("coordinator is up: enrolment under TLS, the fleet under mutual TLS, state in Redis")


async def raise_fleet(stage: Stage, machines: Sequence[Machine], shards: Shards, screen: Screen) -> None:
    """All nodes at once, each with its labelled images."""
    for name, examples in shards.before.items():
        hand_out(stage, name, "before", examples)
    async with asyncio.TaskGroup() as tasks:  # one that fails ends the others, and all are awaited
        joining = [tasks.create_task(stage.join(machine)) for machine in machines]
    for actor in (task.result() for task in joining):
        screen.say(f"{actor.machine.name} enrolled and running, budget {actor.machine.budget or 'unbounded'}")


async def produce(dataset: Dataset, screen: Screen, clock: Callable[[], float], recipe: Production) -> Made:
    """Teacher and students, in a thread so that the stage goes on."""
    screen.act("One teacher, several students")
    ended = threading.Event()
    with screen.bar("training") as bar:

        def go_on(share: float) -> None:
            """A thread cannot be cancelled: it asks, every few steps, and gives up by itself."""
            if ended.is_set():
                raise Interrupted("training: was interrupted")
            bar(share)

        try:
            made = await asyncio.to_thread(make_students, dataset, recipe, progress=go_on, clock=clock)
        finally:
            ended.set()
    screen.say(f"teacher {made.teacher_accuracy:.2%} after {teacher_row(made).seconds:.0f} s")
    for packaged in made.packaged:
        manifest = packaged.manifest
        for remark in manifest.remarks:
            screen.say(f"warning: {manifest.name}: {remark}")
        label, worst = manifest.worst_class or ("", math.nan)
        screen.say(
            f"{manifest.name}: {manifest.accuracy:.2%}, its worst class {label} {worst:.2%}, "
            f"{manifest.artifact_bytes:,} bytes for {manifest.runtime}"
        )
    return made


def teacher_row(made: Made) -> TeacherRow:
    """A recipe may have no teacher; the demo's has."""
    if made.teacher is None:
        return TeacherRow(0.0, 0, 0.0)
    return TeacherRow(made.teacher_accuracy, made.teacher.parameters, round(made.teacher.seconds, 1))


async def ended_rollout(core: Core, rollout_id: str) -> Doc:
    async def look() -> Doc | None:
        doc = await core.ledger.get("rollout", rollout_id)
        return doc if doc is not None and load(Rollout, doc).state in ENDED else None

    return await until(core.ledger, ("rollout",), look, seconds=ROLLOUT_WAIT_S, what=f"rollout {rollout_id} to end")


async def gathered(core: Core, stage: Stage) -> None:
    """Until every node's session is there: it serves what it has before it looks for the cloud."""

    async def look() -> bool | None:
        there = {doc.id for doc in await core.ledger.all("presence") if load(Presence, doc).connected}
        return True if all(actor.node_id in there for actor in stage.actors.values()) else None

    await until(core.ledger, ("presence",), look, seconds=CONNECT_WAIT_S, what="every node's session")


async def baselines(core: Core, stage: Stage) -> None:
    """Until every node's own baseline of its inputs is full."""

    async def look() -> bool | None:
        docs = {doc.id: load(Inputs, doc) for doc in await core.ledger.all("inputs")}
        ids = [f"{actor.node_id}:{actor.model}" for actor in stage.actors.values()]
        return True if all(i in docs and docs[i].baseline_full for i in ids) else None

    await until(core.ledger, ("inputs",), look, seconds=BASELINE_WAIT_S, what="every node's baseline of inputs")


async def drift(core: Core, stage: Stage, shards: Shards, test: Examples, screen: Screen) -> float:
    """Turns the inputs of some nodes and waits until the cloud has seen it; gives their live accuracy before."""
    screen.act(f"The world turns: images rotated by {DRIFT_DEGREES:.0f} degrees on " + " and ".join(shards.after))
    turning = [stage.actors[name] for name in shards.after]
    before = live(turning)
    turned = rotate(test.x, DRIFT_DEGREES)
    for actor in turning:
        hand_out(stage, actor.machine.name, "after", shards.after[actor.machine.name])
        stage.turn(actor, Examples(turned, test.y))

    async def look() -> tuple[str, ...] | None:
        seen = await drifted(core, stage)
        return seen if set(shards.after) <= set(seen) else None

    seen = await until(core.ledger, ("inputs",), look, seconds=DRIFT_WAIT_S, what="drift to be seen from sketches")
    screen.say(f"drift seen on {', '.join(seen)}, from histograms alone")
    return before


async def drifted(core: Core, stage: Stage) -> tuple[str, ...]:
    """Names of the nodes that the audit trail ever called drifted."""
    names = {actor.node_id: name for name, actor in stage.actors.items()}
    lines = [line for line in await evidence.trail(core) if line.action == "drift.detected"]
    return tuple(sorted({names[line.subject.split(":")[0]] for line in lines}))


async def learn_together(core: Core, screen: Screen) -> Run:
    """Watches the run that the coordinator's loop started."""
    screen.act("The machines learn together")

    async def look() -> Run | None:
        runs = [load(Run, doc) for doc in await core.ledger.all("run")]
        for run in runs:
            if len(run.seconds_per_round) > len(told):
                told.append(run.seconds_per_round[-1])
                screen.say(f"round {len(told)} of {run.rounds} in {told[-1]:.1f} s with {len(run.participants)} nodes")
        return next((run for run in runs if run.state in (RunState.SUCCEEDED, RunState.FAILED)), None)

    told: list[float] = []
    return await until(core.ledger, ("run",), look, seconds=RUN_WAIT_S, what="the federated run to end")


async def promoted_by_the_loop(core: Core, screen: Screen) -> Doc:
    """Watches the release that the loop made of the run, and its rollout."""

    async def look() -> Doc | None:
        for doc in await core.ledger.all("rollout"):
            rollout = load(Rollout, doc)
            found = await core.ledger.get("release", rollout.release_id)
            if found is not None and load(Release, found).kind == "federated" and rollout.state in ENDED:
                return doc
        return None

    doc = await until(
        core.ledger, ("rollout", "release"), look, seconds=ROLLOUT_WAIT_S, what="the rollout of what the fleet learnt"
    )
    screen.say(f"what the fleet learnt: {load(Rollout, doc).state}")
    return doc


async def roll_out(core: Core, released: Release, screen: Screen) -> Doc:
    """Starts a rollout and watches it to its end, naming each wave as it goes."""
    rollout_id = await start_rollout(core.ledger, released, now=core.clock(), actor="demo")
    doc = await ended_rollout(core, rollout_id)
    rollout = load(Rollout, doc)
    screen.say(f"{released.kind} release {released.release_id}: {rollout.state} {rollout.reason}".rstrip())
    return doc


def check_served(initial: Doc) -> None:
    """Raises FleetError where the first release did not come to the nodes: then there is nothing to play with."""
    rollout = load(Rollout, initial)
    if rollout.state is not State.SUCCEEDED:
        raise FleetError(
            f"release {rollout.release_id}: {rollout.state}: {rollout.reason}", hint="the nodes' logs are in OUT/logs"
        )


def keep_data(dataset: Dataset, path: Path) -> str:
    """The cloud's data set, without what was held back for the nodes, as a user would give it: an .npz file."""
    np.savez(path, x_train=dataset.train_x, y_train=dataset.train_y, x_test=dataset.test_x, y_test=dataset.test_y)
    return str(path)


async def bad_release(core: Core, made: Made, screen: Screen) -> Doc:
    """A release whose weights were ruined after they were measured: signed like any other, and claiming the old accuracy."""
    screen.act("A bad release, signed like any other")
    ruined = await asyncio.to_thread(ruin, made)
    released = await release_made(core, ruined, core.clock(), kind="manual", note="deliberately ruined", data="", actor="demo")
    return await roll_out(core, released, screen)


def live(actors: Sequence[Actor]) -> float:
    """Mean live accuracy of some nodes since they were last asked; starts a new stretch."""
    return float(np.mean([actor.stream.tally.cut() for actor in actors if actor.stream is not None]))


async def live_for(actors: Sequence[Actor], requests: int) -> float:
    """Mean live accuracy over the next answers, at least `requests` from each node."""
    live(actors)
    await asyncio.gather(*(actor.stream.tally.answers(requests) for actor in actors if actor.stream is not None))
    return live(actors)
