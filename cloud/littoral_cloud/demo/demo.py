"""The whole demo: the steps of steps.py in their order, and the report of what they showed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from littoral_cloud.app import Core, open_core
from littoral_cloud.data.dataset import Dataset, Examples
from littoral_cloud.data.shards import rotate
from littoral_cloud.demo import evidence, steps
from littoral_cloud.demo.participants import DRIFT_DEGREES, QUICK_REQUESTS, SEED
from littoral_cloud.demo.processes import NodeProcess, Processes, running
from littoral_cloud.demo.report import DriftRow, FederationRow, Report, RolloutRow, broken_promises, left_out
from littoral_cloud.demo.settings import DemoSettings
from littoral_cloud.demo.terminal import Terminal
from littoral_cloud.factory.production import Made
from littoral_cloud.releases.catalogue import read_artifact
from littoral_cloud.releases.release import release_made
from littoral_cloud.settings import load_settings

Stay = Callable[[Report, Mapping[str, str]], Awaitable[None]]


@dataclass(frozen=True, slots=True, eq=False)
class Demo:
    """What every step may use."""

    core: Core
    processes: Processes
    terminal: Terminal
    dataset: Dataset
    names: Mapping[str, str]  # node id -> name


async def run_demo(
    out: Path,
    chosen: DemoSettings,
    clock: Callable[[], float],
    monotonic: Callable[[], float],
    terminal: Terminal,
    stay: Stay | None = None,
) -> tuple[Report, dict[str, str]]:
    """Runs the demo in an empty folder. Returns the report, and the promises that were broken.

    Args:
        stay: awaited with both while everything runs on.

    Raises FleetError where a step cannot go on; every process has ended then.
    """
    async with running(out, monotonic, chosen.recipe.model) as processes:
        await steps.start_coordinator(processes, terminal, loop=chosen.learns)
        made = None
        if chosen.machines is None:  # the nodes' budgets follow from the sizes of the students
            made = await steps.train(chosen.dataset, terminal, monotonic, chosen.recipe)
        machines = chosen.machines_for([packaged.manifest for packaged in made.packaged] if made else [])
        shards = steps.shard(chosen.held_back, machines, chosen.alpha, SEED)
        await steps.start_nodes(processes, machines, shards, terminal)
        async with open_core(load_settings(data_dir=processes.cloud_dir), clock=clock) as core:
            names = {node.node_id: name for name, node in processes.nodes.items()}
            demo = Demo(core, processes, terminal, chosen.dataset, names)
            await steps.wait_for_sessions(core, processes)
            made = made or await steps.train(chosen.dataset, terminal, monotonic, chosen.recipe)
            report = await after_training(demo, made, shards, learns=chosen.learns)
        report, broken = _judged(replace(report, seconds=round(terminal.seconds, 1)), chosen)
        report.write(out / "report.json")
        if stay is not None:
            terminal.message("everything runs on; Ctrl-C ends it. The page, once more:")
            terminal.link(await processes.page_link())
            await stay(report, broken)
    return report, broken


def _judged(report: Report, chosen: DemoSettings) -> tuple[Report, dict[str, str]]:
    report = replace(report, skipped={**left_out(report, chosen.promises), **chosen.left_out})
    broken = {name: words for name, words in broken_promises(report, chosen.promises).items() if name not in report.skipped}
    return replace(report, checks={"passed": not broken, **{name: False for name in broken}}), broken


async def after_training(demo: Demo, made: Made, shards: steps.Shards, *, learns: bool) -> Report:
    """The release, its rollout, (with `learns`) drift, rounds and the better model, and the bad release."""
    core, processes, terminal = demo.core, demo.processes, demo.terminal
    terminal.heading("Signed, measured on each machine, rolled out in waves")
    data = steps.write_data(demo.dataset, processes.out / "data.npz")
    first = await release_made(
        core, made, core.clock(), kind="initial", note="the demo's first students", data=data, actor="demo"
    )
    initial = await steps.roll_out(core, first, terminal)
    steps.check_served(initial)
    students = [await evidence.student_row(core, digest) for digest in first.artifacts]
    processes.start_streams(demo.dataset.test, shards.before, SEED)
    processes.start_watch()
    for node in processes.nodes.values():
        served = await read_artifact(core.ledger, await evidence.serving(core, node))
        terminal.message(f"{node.machine.name} serves {served.name}: {served.accuracy:.2%}, {served.artifact_bytes:,} bytes")
    learning = await learn(demo, shards) if learns else None
    if learning is None:
        streams = [node.stream for node in processes.nodes.values() if node.stream is not None]
        await asyncio.gather(*(stream.tally.answers(QUICK_REQUESTS) for stream in streams))
    bad = await steps.release_corrupted(core, made, terminal)
    terminal.heading("Results")
    good = [evidence.rollout_row(initial, "initial", demo.names)]
    return Report(
        teacher=steps.teacher_row(made),
        students=students,
        nodes=[await evidence.node_row(core, node) for node in processes.nodes.values()],
        drift=None if learning is None else replace(learning.drift, detected=await steps.drifted_nodes(core, processes)),
        federation=None if learning is None else learning.federation,
        rollouts=[*good, *([] if learning is None else [learning.rollout]), evidence.rollout_row(bad, "bad", demo.names)],
        seconds=terminal.seconds,
        load_average=await evidence.largest_load(core),
        audit=await evidence.audit_state(core),
    )


@dataclass(frozen=True, slots=True)
class Learning:
    """The figures of drift, federated rounds and the rollout of their result."""

    drift: DriftRow
    federation: FederationRow
    rollout: RolloutRow


async def learn(demo: Demo, shards: steps.Shards) -> Learning:
    """Rotates the inputs of some nodes; the fleet learns together, and serves the result."""
    core, processes, terminal = demo.core, demo.processes, demo.terminal
    turned = [processes.nodes[name] for name in shards.after]
    served_before = {node.node_id: await evidence.serving(core, node) for node in processes.nodes.values()}
    await steps.wait_for_baselines(core, processes)
    live_before = await steps.drift_inputs(core, processes, shards, demo.dataset.test, terminal)
    run = await steps.watch_run(core, terminal)
    live_during = steps.live_accuracy(turned)
    rollout = await steps.watch_loop_rollout(core, terminal)
    live_after = await steps.live_accuracy_over(turned, 150)
    served_after = {node.node_id: await evidence.serving(core, node) for node in turned}
    accuracies = await _served_accuracies(demo, turned, served_before, served_after)
    return Learning(
        DriftRow(tuple(sorted(shards.after)), (), live_before, live_during, live_after, *accuracies),
        FederationRow(
            run.strategy,
            run.rounds,
            tuple(round(s, 2) for s in run.seconds_per_round),
            tuple(sorted(demo.names.get(node, node) for node in run.participants)),
            run.bytes_down,
            run.bytes_up,
        ),
        evidence.rollout_row(rollout, "federated", demo.names),
    )


async def _served_accuracies(
    demo: Demo, turned: list[NodeProcess], before: Mapping[str, str], after: Mapping[str, str]
) -> tuple[float, float, float, float]:
    """The accuracy on all test images of the artifacts that the drifted nodes served before the rounds and after them.

    In order: on drifted images before and after, on clean images before and after. The mean over nodes where they serve
    different artifacts.
    """
    clean = demo.dataset.test
    drifted = Examples(rotate(clean.x, DRIFT_DEGREES), clean.y)
    found: dict[tuple[str, str], float] = {}
    for digest in {before[node.node_id] for node in turned} | {after[node.node_id] for node in turned}:
        found[digest, "clean"] = await evidence.accuracy_on(demo.core, digest, clean)
        found[digest, "drifted"] = await evidence.accuracy_on(demo.core, digest, drifted)

    def mean(served: Mapping[str, str], inputs: str) -> float:
        return sum(found[served[node.node_id], inputs] for node in turned) / len(turned)

    return mean(before, "drifted"), mean(after, "drifted"), mean(before, "clean"), mean(after, "clean")
