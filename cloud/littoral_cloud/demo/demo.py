"""The whole demo: the acts of story.py in their order, and the report of what they showed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from littoral_cloud.app import Core, open_core
from littoral_cloud.data.dataset import Dataset, Examples
from littoral_cloud.data.shards import rotate
from littoral_cloud.demo import evidence
from littoral_cloud.demo import steps as story
from littoral_cloud.demo.participants import DRIFT_DEGREES, QUICK_REQUESTS, SEED
from littoral_cloud.demo.processes import Actor, Stage, staged
from littoral_cloud.demo.report import DriftRow, FederationRow, Report, RolloutRow, broken_promises, left_out
from littoral_cloud.demo.settings import Setting
from littoral_cloud.demo.terminal import Screen
from littoral_cloud.factory.production import Made
from littoral_cloud.releases.release import release_made
from littoral_cloud.settings import load_settings


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What every act may use."""

    core: Core
    stage: Stage
    screen: Screen
    dataset: Dataset
    names: Mapping[str, str]  # node id -> name


async def play(
    out: Path, setting: Setting, clock: Callable[[], float], monotonic: Callable[[], float], screen: Screen
) -> tuple[Report, dict[str, str]]:
    """Runs the demo in an empty folder; gives the report and what did not hold.

    Raises FleetError where an act cannot go on; every process has ended then.
    """
    async with staged(out, monotonic, setting.recipe.model) as stage:
        await story.raise_coordinator(stage, screen, loop=setting.learns)
        made = None
        if setting.machines is None:  # what a machine may take is chosen from what there is
            made = await story.produce(setting.dataset, screen, monotonic, setting.recipe)
        machines = setting.machines_for([packaged.manifest for packaged in made.packaged] if made else [])
        shards = story.shard(setting.held_back, machines, setting.alpha, SEED)
        await story.raise_fleet(stage, machines, shards, screen)
        settings = load_settings(data_dir=stage.cloud_dir)
        async with open_core(settings, clock=clock) as core:
            names = {actor.node_id: name for name, actor in stage.actors.items()}
            scene = Scene(core, stage, screen, setting.dataset, names)
            await story.gathered(core, stage)
            made = made or await story.produce(setting.dataset, screen, monotonic, setting.recipe)
            report = await perform(scene, made, shards, learns=setting.learns)
    report = replace(report, seconds=round(screen.seconds, 1), skipped={**left_out(report, setting.promises), **setting.left_out})
    broken = {name: words for name, words in broken_promises(report, setting.promises).items() if name not in report.skipped}
    report = replace(report, checks={"held": not broken, **{name: False for name in broken}})
    report.write(out / "report.json")
    return report, broken


async def perform(scene: Scene, made: Made, shards: story.Shards, *, learns: bool) -> Report:
    """Everything after training: release, (where it learns) drift, rounds, the better model, and the bad one."""
    core, stage, screen = scene.core, scene.stage, scene.screen
    screen.act("Signed, measured on each machine, rolled out in waves")
    data = story.keep_data(scene.dataset, stage.out / "data.npz")
    first = await release_made(
        core, made, core.clock(), kind="initial", note="the demo's first students", data=data, actor="demo"
    )
    initial = await story.roll_out(core, first, screen)
    story.check_served(initial)
    students = [await evidence.student_row(core, digest) for digest in first.artifacts]
    stage.start_streams(scene.dataset.test, shards.before, SEED)
    stage.start_watch()
    for actor in stage.actors.values():
        served = await evidence.artifact(core, await evidence.serving(core, actor))
        screen.say(f"{actor.machine.name} serves {served.name}: {served.accuracy:.2%}, {served.artifact_bytes:,} bytes")
    learnt = await learn(scene, shards) if learns else None
    if learnt is None:
        await asyncio.gather(*(a.stream.tally.answers(QUICK_REQUESTS) for a in stage.actors.values() if a.stream is not None))
    bad = await story.bad_release(core, made, screen)
    screen.act("What it came to")
    good = [evidence.rollout_row(initial, "initial", scene.names)]
    return Report(
        teacher=story.teacher_row(made),
        students=students,
        nodes=[await evidence.node_row(core, actor) for actor in stage.actors.values()],
        drift=None if learnt is None else replace(learnt.drift, detected=await story.drifted(core, stage)),
        federation=None if learnt is None else learnt.federation,
        rollouts=[*good, *([] if learnt is None else [learnt.rollout]), evidence.rollout_row(bad, "bad", scene.names)],
        seconds=screen.seconds,
        load_average=await evidence.largest_load(core),
        audit=await evidence.audit_state(core),
    )


@dataclass(frozen=True, slots=True)
class Learnt:
    """What came of drift and rounds."""

    drift: DriftRow
    federation: FederationRow
    rollout: RolloutRow


async def learn(scene: Scene, shards: story.Shards) -> Learnt:
    """The inputs of some nodes turn; the fleet learns together, and serves what it learnt."""
    core, stage, screen = scene.core, scene.stage, scene.screen
    turned = [stage.actors[name] for name in shards.after]
    served_before = {actor.node_id: await evidence.serving(core, actor) for actor in stage.actors.values()}
    await story.baselines(core, stage)
    live_before = await story.drift(core, stage, shards, scene.dataset.test, screen)
    run = await story.learn_together(core, screen)
    live_during = story.live(turned)
    learnt = await story.promoted_by_the_loop(core, screen)
    live_after = await story.live_for(turned, 150)
    served_after = {actor.node_id: await evidence.serving(core, actor) for actor in turned}
    worth = await _served_accuracies(scene, turned, served_before, served_after)
    return Learnt(
        DriftRow(tuple(sorted(shards.after)), (), live_before, live_during, live_after, *worth),
        FederationRow(
            run.strategy,
            run.rounds,
            tuple(round(s, 2) for s in run.seconds_per_round),
            tuple(sorted(scene.names.get(node, node) for node in run.participants)),
            run.bytes_down,
            run.bytes_up,
        ),
        evidence.rollout_row(learnt, "federated", scene.names),
    )


async def _served_accuracies(
    scene: Scene, turned: list[Actor], before: Mapping[str, str], after: Mapping[str, str]
) -> tuple[float, float, float, float]:
    """Of the artifacts that the drifted nodes served before the rounds and after, on all test images: drifted before and after,
    clean before and after. Where the nodes serve different artifacts, the mean over nodes."""
    clean = scene.dataset.test
    drifted = Examples(rotate(clean.x, DRIFT_DEGREES), clean.y)
    found: dict[tuple[str, str], float] = {}
    for digest in {before[a.node_id] for a in turned} | {after[a.node_id] for a in turned}:
        found[digest, "clean"] = await evidence.accuracy_on(scene.core, digest, clean)
        found[digest, "drifted"] = await evidence.accuracy_on(scene.core, digest, drifted)

    def mean(served: Mapping[str, str], inputs: str) -> float:
        return sum(found[served[a.node_id], inputs] for a in turned) / len(turned)

    return mean(before, "drifted"), mean(after, "drifted"), mean(before, "clean"), mean(after, "clean")
