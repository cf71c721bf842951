"""Kills the processes of a fleet with -9, one after another, while rollouts and federated rounds go on, and counts what was lost.

    python -m bench.kill_loop --faults 60 --seed 1

One coordinator with its embedded Redis, and agents that hold labelled examples, each started by the command that an operator
would type. A fault takes, by the seed, the coordinator, Redis, an agent, or the training worker of an agent, at any moment of a
rollout and of a round; what an operator's supervisor would start again is started again. There is always a rollout under way, of
the one release and the other in turn, and a federated run.

At the end everything that was begun is given time to end. Exit status 1 where a rollout or run never ended, FAILED, or went back
because somebody was not there; 0 else. A rollout that went back for another reason is printed with it: an agent that is killed
three times while a model is on trial gives that model up, as it should.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from littoral.errors import FleetError
from littoral.process.command import Command, run_to_end, script
from littoral_cloud.app import Core, open_core
from littoral_cloud.federation import run as runs
from littoral_cloud.federation.start import RunTerms, start_run
from littoral_cloud.fleet.ledger import until
from littoral_cloud.fleet.nodes import view_nodes
from littoral_cloud.fleet.records import Probation, Release, load
from littoral_cloud.releases.catalogue import all_releases, create_release
from littoral_cloud.rollouts import state as rollouts
from littoral_cloud.rollouts.commands import start_rollout
from littoral_cloud.settings import load_settings

MODEL = "corners"
KINDS = ("coordinator", "redis", "agent", "worker")
CLOUD, NODE = script("littoral-cloud"), script("littoral-node")
POLICY = rollouts.RolloutPolicy(
    probation=Probation(duration_s=1.0, max_accuracy_drop=1.0, max_failure_rate=1.0), max_accuracy_loss=1.0, measure_s=60.0
)
TERMS = RunTerms(rounds=2, local_epochs=1, min_nodes=2, round_timeout_s=120.0)
ABSENT = ("offline", "is away", "has not come", "no answer")
"""Words of a way back for which somebody's absence is to blame."""

WORKER_S = 20.0
"""So long a fault waits for a training worker to be there; then it takes another process."""
END_S = 420.0
"""So long everything that was begun may take to end."""


def tell(words: str) -> None:
    print(words, flush=True)


def corners(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A square in one of three corners of 12 x 12 pixels: learnt in a moment. (n, 12, 12) uint8 and (n,) int64."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    x = rng.integers(0, 60, (count, 12, 12)).astype(np.uint8)
    for image, label in zip(x, y, strict=True):
        row, column = ((0, 0), (0, 7), (7, 0))[label]
        image[row : row + 5, column : column + 5] += 180
    return x, y.astype(np.int64)


@dataclass
class Stage:
    """The fleet's processes below one folder."""

    root: Path
    agents: int
    coordinator: Command | None = None
    nodes: dict[str, Command] = field(default_factory=dict)
    ports: tuple[str, str] = ("0", "0")
    releases: list[Release] = field(default_factory=list)

    @property
    def _environment(self) -> dict[str, str]:
        return {"LITTORAL_DATA_DIR": str(self.root / "cloud"), "OMP_NUM_THREADS": "1"}

    async def prepare(self) -> None:
        """Two releases, one of each artifact of a student, and agents that serve neither yet."""
        await self.start_coordinator()
        x, y = corners(1, 600)
        np.savez(self.root / "images.npz", x=x, y=y)
        await self.cloud("train", "--data", str(self.root / "images.npz"), "--model", MODEL, "--recipe", "tiny", "--yes")
        async with self.core() as core:
            [both] = await all_releases(core.ledger)
            for digest in both.artifacts:
                self.releases.append(await create_release(core.ledger, MODEL, [digest], "manual", "", core.clock()))
        for number in range(self.agents):
            name, labelled = f"node-{number}", self.root / f"labelled-{number}"
            labelled.mkdir()
            x, y = corners(100 + number, 200)
            np.savez(labelled / "examples.npz", x=x, y=y)
            line = await self.cloud("token", "create", "--name", name)
            log = self.root / f"{name}.log"
            await run_to_end("enroll", [NODE, "enroll", line, "--name", name, "--data", str(self.root / name)], log)
            await self.start_agent(name)

    async def start_coordinator(self) -> None:
        enrolment, fleet = self.ports
        ports = ("--enrolment-port", enrolment, "--fleet-port", fleet)
        command = [CLOUD, "serve", *ports, "--heartbeat-interval", "1", "--telemetry-interval", "2", "--format", "json"]
        self.coordinator = await Command.start("coordinator", command, self.root / "coordinator.log", self._environment)
        ready = json.loads(await self.coordinator.ready_line())
        self.ports = (ready["enrolment"].rpartition(":")[2], ready["fleet"].rpartition(":")[2])

    async def start_agent(self, name: str) -> None:
        labelled = self.root / f"labelled-{name.rpartition('-')[2]}"
        command = [NODE, "run", "--data", str(self.root / name), "--labelled", str(labelled)]
        command += ["--http", "127.0.0.1:0", "--grpc", "off", "--format", "json"]
        child = await Command.start(name, command, self.root / f"{name}.log", {"OMP_NUM_THREADS": "1"})
        self.nodes[name] = child
        await child.ready_line()

    async def cloud(self, *words: str) -> str:
        return await run_to_end(words[0], [CLOUD, *words], self.root / "commands.log", self._environment)

    @asynccontextmanager
    async def core(self) -> AsyncIterator[Core]:
        """As a command has it. Not while the coordinator is down: a command would start its Redis again."""
        async with open_core(load_settings(data_dir=self.root / "cloud"), clock=time.time) as core:  # noqa: TID251 - a shell
            yield core

    async def end(self) -> None:
        for child in (*self.nodes.values(), *filter(None, (self.coordinator,))):
            await child.end()

    # -- faults ----------------------------------------------------------------------------------------------------

    async def fault(self, kind: str, rng: random.Random) -> str:
        """Kills one process and starts what a supervisor would; says what it took."""
        name = rng.choice(sorted(self.nodes))
        pause_s = rng.uniform(0.0, 2.0)
        if kind == "worker":
            if (worker := await self._worker()) is not None:
                os.kill(worker, signal.SIGKILL)
                return "training worker"
            kind = "agent"
        if kind == "redis":
            os.kill(int((self.root / "cloud" / "redis" / "redis.pid").read_text()), signal.SIGKILL)
            return "redis"
        child = self.coordinator if kind == "coordinator" else self.nodes[name]
        assert child is not None
        os.kill(child.pid, signal.SIGKILL)
        await child.ended()
        await child.end()
        await asyncio.sleep(pause_s)
        await (self.start_coordinator() if kind == "coordinator" else self.start_agent(name))
        return f"{kind if kind == 'coordinator' else name}, back after {pause_s:.1f} s"

    async def _worker(self) -> int | None:
        """The process of some agent's training worker, once there is one; None: there was none for WORKER_S."""
        deadline = time.monotonic() + WORKER_S
        while time.monotonic() < deadline:
            for pid in (pid for child in self.nodes.values() for pid in descendants(child.pid)):
                if "littoral_node.federation.worker" in command_of(pid):
                    return pid
            await asyncio.sleep(0.05)
        return None


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for place in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in place.read_text().split()]
        except OSError:  # the thread has ended
            continue
        found += [each for child in children for each in (child, *descendants(child))]
    return found


def command_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:  # it has ended
        return []


@dataclass
class Begun:
    """Ids of what was begun."""

    rollouts: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)

    async def keep_going(self, core: Core, releases: Sequence[Release], terms: RunTerms) -> None:
        """Begins a rollout and a run where none of its kind is under way."""
        ended = await outcomes(core)
        if not self.rollouts or self.rollouts[-1] in ended:
            release = releases[len(self.rollouts) % len(releases)]
            self.rollouts.append(await start_rollout(core.ledger, release, core.clock(), POLICY))
        if not self.runs or self.runs[-1] in ended:
            id = f"kill-loop-{len(self.runs) + 1}"
            await start_run(core, run_id=id, model=MODEL, terms=terms)
            self.runs.append(id)

    async def ended(self, core: Core) -> dict[str, str]:
        """The outcomes, once all that was begun has one; what has none after END_S is missing."""
        begun = {*self.rollouts, *self.runs}

        async def look() -> dict[str, str] | None:
            found = await outcomes(core)
            return found if begun <= set(found) else None

        try:
            return await until(core.ledger, (rollouts.KIND, runs.KIND), look, seconds=END_S, what="everything to end")
        except FleetError:
            return await outcomes(core)


async def outcomes(core: Core) -> dict[str, str]:
    """How each rollout and run that has ended did so, by id: the state, and the reason where it is no success."""
    found = {}
    for doc in await core.ledger.all(rollouts.KIND):
        rollout = load(rollouts.Rollout, doc)
        if rollout.state in rollouts.ENDED:
            found[doc.id] = f"{rollout.state} {rollout.reason}".strip()
    for run in await runs.all_runs(core.ledger):
        if run.state.terminal:
            found[run.run_id] = f"{run.state} {run.reason} {run.detail}".strip()
    return found


def lost(begun: Sequence[str], ended: Mapping[str, str]) -> list[str]:
    """What never ended, failed, or went back because somebody was not there, in words."""
    missing = [f"{id}: never ended" for id in begun if id not in ended]
    how = {id: ended[id] for id in begun if id in ended}
    return missing + [
        f"{id}: {words}" for id, words in how.items() if words.startswith("FAILED") or any(word in words for word in ABSENT)
    ]


async def loop(root: Path, faults: int, seed: int, agents: int, kinds: Sequence[str] = KINDS) -> list[str]:
    """Prints what it does; gives what was lost, in words."""
    rng, begun, took = random.Random(seed), Begun(), Counter[str]()
    stage = Stage(root, agents)
    began = time.monotonic()
    try:
        await stage.prepare()
        tell(f"ready after {time.monotonic() - began:.0f} s: {agents} agents, two releases, seed {seed}")
        order = [kind for _ in range(-(-faults // len(kinds))) for kind in rng.sample(kinds, len(kinds))][:faults]
        for number, kind in enumerate(order, 1):
            async with stage.core() as core:
                await begun.keep_going(core, stage.releases, replace(TERMS, min_nodes=min(2, agents)))
            await asyncio.sleep(rng.uniform(0.0, 4.0))
            said = await stage.fault(kind, rng)
            took[said.split(",")[0].split("-")[0]] += 1
            tell(f"{time.monotonic() - began:6.1f} s  fault {number}: {said}")
        async with stage.core() as core:
            ended = await begun.ended(core)
            nodes = {view.node.name: view.state for view in await view_nodes(core.ledger, core.clock())}
        chain = json.loads(await stage.cloud("audit", "verify", "--format", "json"))
    finally:
        await stage.end()
    for what, ids in (("rollouts", begun.rollouts), ("federated runs", begun.runs)):
        states = Counter(ended.get(id, "never ended").split()[0] for id in ids)
        tell(f"{what}: {len(ids)} begun; " + ", ".join(f"{count} {state}" for state, count in sorted(states.items())))
        for id in ids:
            if not ended.get(id, "SUCCEEDED").startswith("SUCCEEDED"):
                tell(f"  {id}: {ended[id]}")
    tell(
        f"faults: {', '.join(f'{count} {what}' for what, count in sorted(took.items()))}; {time.monotonic() - began:.0f} s in all"
    )
    tell(f"nodes: {nodes}; audit trail: {chain['lines']} lines, whole: {chain['whole']}")
    gone = lost([*begun.rollouts, *begun.runs], ended)
    if not chain["whole"]:
        gone.append("the audit trail is broken")
    tell(f"lost: {len(gone)}" + "".join(f"\n  {words}" for words in gone))
    return gone


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--agents", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a new folder for data and logs, which stays; else one that is removed")
    given = parser.parse_args()
    if given.keep is not None:
        given.keep.mkdir(parents=True)
        return 1 if asyncio.run(loop(given.keep, given.faults, given.seed, given.agents)) else 0
    with tempfile.TemporaryDirectory(prefix="kill-loop-") as folder:
        return 1 if asyncio.run(loop(Path(folder), given.faults, given.seed, given.agents)) else 0


if __name__ == "__main__":
    sys.exit(main())
