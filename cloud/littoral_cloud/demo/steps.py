"""The demo's steps. Each does one part of the loop for real and returns what the next step needs.

Most of them only watch: once the cloud has seen drift, the coordinator's own loop (littoral_cloud/loop.py) starts the federated
run, makes the release and rolls it out.
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
from littoral_cloud.demo.participants import DRIFT_DEGREES, PROBATION_S, DemoMachine
from littoral_cloud.demo.processes import NodeProcess, Processes
from littoral_cloud.demo.report import TeacherRow
from littoral_cloud.demo.terminal import Terminal
from littoral_cloud.factory.corruption import corrupt
from littoral_cloud.factory.production import Execution, Made, make_students
from littoral_cloud.federation.run import Run, RunState
from littoral_cloud.fleet.drift import Inputs, node_and_model
from littoral_cloud.fleet.ledger import trail, until
from littoral_cloud.fleet.records import Presence, Release, load
from littoral_cloud.recipes.recipe import Production
from littoral_cloud.releases.release import release_made
from littoral_cloud.rollouts.commands import policy_with, start_rollout, wait
from littoral_cloud.rollouts.state import ENDED, Rollout, RolloutState

# Upper bounds, so that a demo ends. On a busy machine a step may take many times as long as on an idle one.
CONNECT_WAIT_S = 180.0
DRIFT_WAIT_S = 600.0
ROLLOUT_WAIT_S = 600.0
RUN_WAIT_S = 600.0
BASELINE_WAIT_S = 600.0


class Interrupted(FleetError):
    """A signal ended the demo."""

    code = "interrupted"
    exit_code = 130


@dataclass(frozen=True, slots=True, eq=False)
class Shards:
    """Each node's labelled images: from before the drift and, where the node drifts, as many from after it."""

    before: Mapping[str, Examples]
    after: Mapping[str, Examples]


def shard(held_back: Examples, machines: Sequence[DemoMachine], alpha: float, seed: int) -> Shards:
    """Splits each class over the nodes by a Dirichlet draw (non-IID); rotates the second half of a drifting node's images."""
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


def add_labelled(processes: Processes, name: str, part: str, examples: Examples) -> None:
    """Writes labelled images into a node's folder, as an annotator would."""
    target = processes.labelled_dir(name) / f"{part}.npz"
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".part")
    with draft.open("wb") as file:
        np.savez_compressed(file, x=examples.x, y=examples.y)
    draft.replace(target)


async def start_coordinator(processes: Processes, terminal: Terminal, *, loop: bool) -> None:
    terminal.heading("A coordinator and its nodes")
    await processes.start_coordinator(loop=loop)
    terminal.message("coordinator is up: enrolment under TLS, the fleet under mutual TLS, state in Redis")
    terminal.message("watch it in a browser; the link signs you in, once, and the certificate is the demo's own:")
    terminal.link(await processes.page_link())


async def start_nodes(processes: Processes, machines: Sequence[DemoMachine], shards: Shards, terminal: Terminal) -> None:
    """Starts all nodes at the same time, each with its labelled images."""
    for name, examples in shards.before.items():
        add_labelled(processes, name, "before", examples)
    async with asyncio.TaskGroup() as tasks:  # one that fails ends the others, and all are awaited
        joining = [tasks.create_task(processes.join(machine)) for machine in machines]
    for node in (task.result() for task in joining):
        terminal.message(f"{node.machine.name} enrolled and running, budget {node.machine.budget or 'unbounded'}")


async def train(dataset: Dataset, terminal: Terminal, clock: Callable[[], float], recipe: Production) -> Made:
    """Trains the teacher and the students, in a thread, so that the event loop goes on."""
    terminal.heading("One teacher, several students")
    ended = threading.Event()
    with terminal.bar("training") as bar:

        def go_on(share: float) -> None:
            """Ends the training thread, which cannot be cancelled: it calls this every few steps."""
            if ended.is_set():
                raise Interrupted("training: interrupted")
            bar(share)

        try:
            made = await asyncio.to_thread(make_students, dataset, recipe, Execution(progress=go_on, clock=clock))
        finally:
            ended.set()
    terminal.message(f"teacher {made.teacher_accuracy:.2%} after {teacher_row(made).seconds:.0f} s")
    for packaged in made.packaged:
        manifest = packaged.manifest
        for remark in manifest.remarks:
            terminal.message(f"warning: {manifest.name}: {remark}")
        label, worst = manifest.worst_class or ("", math.nan)
        terminal.message(
            f"{manifest.name}: {manifest.accuracy:.2%}, its worst class {label} {worst:.2%}, "
            f"{manifest.artifact_bytes:,} bytes for {manifest.runtime}"
        )
    return made


def teacher_row(made: Made) -> TeacherRow:
    """Zeros where the recipe has no teacher; the demo's has one."""
    if made.teacher is None:
        return TeacherRow(0.0, 0, 0.0)
    return TeacherRow(made.teacher_accuracy, made.teacher.parameters, round(made.teacher.seconds, 1))


async def wait_for_sessions(core: Core, processes: Processes) -> None:
    """Returns when every node has a session: a node serves before it connects."""

    async def look() -> bool | None:
        there = {doc.id for doc in await core.ledger.all("presence") if load(Presence, doc).connected}
        return True if all(node.node_id in there for node in processes.nodes.values()) else None

    await until(core.ledger, ("presence",), look, seconds=CONNECT_WAIT_S, what="every node's session")


async def wait_for_baselines(core: Core, processes: Processes) -> None:
    """Returns when every node's baseline of its inputs is full."""

    async def look() -> bool | None:
        docs = {doc.id: load(Inputs, doc) for doc in await core.ledger.all("inputs")}
        ids = [f"{node.node_id}:{node.model}" for node in processes.nodes.values()]
        return True if all(i in docs and docs[i].baseline_full for i in ids) else None

    await until(core.ledger, ("inputs",), look, seconds=BASELINE_WAIT_S, what="every node's baseline of inputs")


async def drift_inputs(core: Core, processes: Processes, shards: Shards, test: Examples, terminal: Terminal) -> float:
    """Rotates the inputs of some nodes and waits until the cloud sees drift there. Returns their live accuracy before it."""
    terminal.heading(f"Drift: images rotated by {DRIFT_DEGREES:.0f} degrees on " + " and ".join(shards.after))
    turning = [processes.nodes[name] for name in shards.after]
    before = live_accuracy(turning)
    turned = rotate(test.x, DRIFT_DEGREES)
    for node in turning:
        add_labelled(processes, node.machine.name, "after", shards.after[node.machine.name])
        processes.turn(node, Examples(turned, test.y))

    async def look() -> tuple[str, ...] | None:
        seen = await drifted_nodes(core, processes)
        return seen if set(shards.after) <= set(seen) else None

    seen = await until(core.ledger, ("inputs",), look, seconds=DRIFT_WAIT_S, what="drift to be seen from sketches")
    terminal.message(f"drift seen on {', '.join(seen)}, from histograms alone")
    return before


async def drifted_nodes(core: Core, processes: Processes) -> tuple[str, ...]:
    """Names of all nodes with a `drift.detected` line in the audit trail."""
    names = {node.node_id: name for name, node in processes.nodes.items()}
    subjects = [line.subject async for line in trail(core.ledger) if line.action == "drift.detected"]
    return tuple(sorted({names[node_and_model(subject)[0]] for subject in subjects}))


async def watch_run(core: Core, terminal: Terminal) -> Run:
    """Waits for the end of the run that the coordinator's loop started."""
    terminal.heading("The nodes learn together")

    async def look() -> Run | None:
        runs = [load(Run, doc) for doc in await core.ledger.all("run")]
        for run in runs:
            if len(run.seconds_per_round) > len(rounds):
                rounds.append(run.seconds_per_round[-1])
                terminal.message(f"round {len(rounds)} of {run.rounds} in {rounds[-1]:.1f} s with {len(run.participants)} nodes")
        return next((run for run in runs if run.state in (RunState.SUCCEEDED, RunState.FAILED)), None)

    rounds: list[float] = []
    return await until(core.ledger, ("run",), look, seconds=RUN_WAIT_S, what="the federated run to end")


async def watch_loop_rollout(core: Core, terminal: Terminal) -> Rollout:
    """Waits for the end of the rollout of the release that the loop made of the run."""

    async def look() -> Rollout | None:
        for rollout in [load(Rollout, doc) for doc in await core.ledger.all("rollout")]:
            if rollout.kind == "federated" and rollout.state in ENDED:
                return rollout
        return None

    rollout = await until(core.ledger, ("rollout",), look, seconds=ROLLOUT_WAIT_S, what="the rollout of the federated release")
    terminal.message(f"federated release: {rollout.state}")
    return rollout


async def roll_out(core: Core, released: Release, terminal: Terminal) -> Rollout:
    """Starts a rollout and waits for its end."""
    rollout_id = await start_rollout(core.ledger, released, core.clock(), policy_with(PROBATION_S), actor="demo")
    rollout = await wait(core.ledger, rollout_id, ROLLOUT_WAIT_S)
    terminal.message(f"{released.kind} release {released.release_id}: {rollout.state} {rollout.reason}".rstrip())
    return rollout


def check_served(rollout: Rollout) -> None:
    """Raises FleetError where the nodes do not serve the first release: the demo cannot go on."""
    if rollout.state is not RolloutState.SUCCEEDED:
        raise FleetError(
            f"release {rollout.release_id}: {rollout.state}: {rollout.reason}", hint="the nodes' logs are in OUT/logs"
        )


def write_data(dataset: Dataset, path: Path) -> str:
    """Writes the cloud's data set, without the nodes' images, as an .npz file like a user's."""
    np.savez(path, x_train=dataset.train_x, y_train=dataset.train_y, x_test=dataset.test_x, y_test=dataset.test_y)
    return str(path)


async def release_corrupted(core: Core, made: Made, terminal: Terminal) -> Rollout:
    """Releases weights that were corrupted after they were measured; the manifest is signed and claims the old accuracy."""
    terminal.heading("A bad release, signed like any other")
    corrupted = await asyncio.to_thread(corrupt, made)
    released = await release_made(
        core, corrupted, core.clock(), kind="manual", note="deliberately corrupted", data="", actor="demo"
    )
    return await roll_out(core, released, terminal)


def live_accuracy(nodes: Sequence[NodeProcess]) -> float:
    """The mean live accuracy of some nodes since the last call for them."""
    return float(np.mean([node.stream.tally.cut() for node in nodes if node.stream is not None]))


async def live_accuracy_over(nodes: Sequence[NodeProcess], requests: int) -> float:
    """The mean live accuracy over the next answers, at least `requests` from each node."""
    live_accuracy(nodes)
    await asyncio.gather(*(node.stream.tally.answers(requests) for node in nodes if node.stream is not None))
    return live_accuracy(nodes)
