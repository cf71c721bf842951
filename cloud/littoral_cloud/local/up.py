"""A fleet of one machine: a coordinator on the data folder and one node beside it, enrolled and serving the newest releases.

The same processes that a user would start by hand, on loopback: enrolment under TLS, the session under mutual TLS, artifacts
signed, measured on this machine and rolled out. DATA/up.json keeps the ports of the coordinator, because the node knows them.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from littoral.errors import BadInput, Conflict, FleetError, NotFound
from littoral.process.command import Command, run_to_end, script
from littoral.process.restarts import SupervisedCommand
from littoral_cloud.app import Core, open_existing
from littoral_cloud.fleet.ledger import until
from littoral_cloud.fleet.records import Presence, Release, Reported, load
from littoral_cloud.local.discovery import Serving
from littoral_cloud.local.how_to_ask import how_to_ask
from littoral_cloud.local.snippets import Where
from littoral_cloud.rollouts.back import releases_in_force
from littoral_cloud.rollouts.commands import policy_with, start_rollout, wait
from littoral_cloud.rollouts.explain import explain_node
from littoral_cloud.rollouts.state import RolloutState
from littoral_cloud.settings import CloudSettings

PORTS_FILE = "up.json"
ROLLOUT_S = 600.0
PROBATION_S = 3.0
"""Somebody waits for it, and the machine served nothing before, or this model's last release."""
CONNECT_S = 180.0
Report = Callable[[str], None]


class NodeEnded(FleetError):
    """The coordinator of `littoral-cloud up` ended by itself, or its node did so again and again."""

    code = "node-ended"


@dataclass(frozen=True, slots=True)
class Up:
    """What runs. `models`: by name, the student that the node serves. `grpc`: HOST:PORT; "": it is off. `ask`: by model, how it
    is asked, to be pasted."""

    url: str
    node_id: str
    models: dict[str, str]
    grpc: str
    folder: str
    ask: dict[str, str]
    page: str = ""  # a link that signs in to the page, once


@dataclass(frozen=True, slots=True)
class LocalFleet:
    """Where it runs. `http`: HOST:PORT of the node's inference; `budget`: None: as the node's own settings say."""

    settings: CloudSettings
    node: Path
    http: str
    budget: str | None = None

    @property
    def logs(self) -> Path:
        return self.settings.data_dir / "logs"


async def up(place: LocalFleet, report: Report, ready: Callable[[Up], None], stop: asyncio.Event) -> None:
    """Starts both, rolls out what is newest, calls `ready`, and serves until `stop`. Both have ended when it returns. A node that
    ends by itself is started again, see littoral.process.restarts.

    Raises:
        NotFound: nothing was released yet, or littoral-node is not installed. Conflict: a coordinator runs on this folder.
        NodeEnded: the coordinator ended by itself, or the node too often.
        FleetError: it does not start, or no release at all can be served; says why.
    """
    began = await _check(place)
    async with AsyncExitStack() as stack:
        coordinator = await stack.enter_async_context(_coordinator(place))
        report("coordinator is up: enrolment under TLS, the fleet under mutual TLS, on loopback")
        node, where, node_id = await stack.enter_async_context(_node(place, report))
        report(f"node enrolled and running, its folder is {place.node}")
        core = await stack.enter_async_context(open_existing(place.settings))
        await until(
            core.ledger, ("presence",), lambda: _connected(core, node_id, began), seconds=CONNECT_S, what="the node's session"
        )
        models = await _served(core, node_id, report)
        ask = {
            model: how_to_ask(core, model, digest, where)
            for model, digest in await _newest_first(core, await _serves(core, node_id))
        }
        ready(Up(f"http://{where.http}", node_id, models, where.grpc, where.folder, ask, await _page_link(place)))
        await _while_both_run(coordinator, node, stop)


async def _check(place: LocalFleet) -> float:
    """Gives the time: everything that is written from now on is of this run."""
    if not Path(script("littoral-node")).exists():
        raise NotFound("littoral-node: is not installed here", hint="pip install 'littoral[edge]'")
    if Serving.read(place.settings.data_dir) is not None:
        raise Conflict(
            f"data folder: a coordinator runs on {place.settings.data_dir} already",
            hint="end it, or enrol a node with it: littoral-cloud token create",
        )
    async with open_existing(place.settings) as core:
        if not await releases_in_force(core.ledger):
            raise NotFound(f"release: there is none in {place.settings.data_dir}", hint="littoral-cloud train --data YOUR_DATA")
        return core.clock()


@asynccontextmanager
async def _coordinator(place: LocalFleet) -> AsyncIterator[Command]:
    enrolment, fleet = _ports(place.settings.data_dir / PORTS_FILE)
    command = [
        *(script("littoral-cloud"), "serve", "--format", "json", "--host", "127.0.0.1"),
        *("--enrolment-port", str(enrolment), "--fleet-port", str(fleet), "--api-port", "0"),
    ]
    child = await Command.start("coordinator", command, place.logs / "coordinator.log", _environment(place))
    try:
        await child.ready_line()
        yield child
    finally:
        await child.end()


@asynccontextmanager
async def _node(place: LocalFleet, report: Report) -> AsyncIterator[tuple[asyncio.Task[str], Where, str]]:
    """What keeps it running, where it answers and its id."""
    node, log, folder = script("littoral-node"), place.logs / "node.log", ["--data", str(place.node)]
    # Enrolling again where there is an identity gives that one, and spends nothing.
    token = [script("littoral-cloud"), "token", "create", "--name", "up", "--ttl", "10m"]
    line = await run_to_end("token", token, log, _environment(place))
    await run_to_end("enroll", [node, "enroll", line, "--name", _host(), *folder], log)
    http, budget = place.http, ["--budget", place.budget] if place.budget is not None else []

    async def start() -> Command:
        return await Command.start("node", [node, "run", *folder, "--http", http, "--format", "json", *budget], log)

    running = SupervisedCommand(start, report)
    lasts: asyncio.Task[str] | None = None
    try:
        ready = json.loads(await running.begin())
        http = ready["http"]  # the port that it found free: started again, it answers there
        lasts = asyncio.create_task(running.supervise(), name="node")
        yield lasts, Where(http, ready.get("grpc", ""), str(place.node)), ready["node_id"]
    finally:
        if lasts is not None:
            lasts.cancel()
            await asyncio.gather(lasts, return_exceptions=True)
        await running.end()


async def _page_link(place: LocalFleet) -> str:
    command = [script("littoral-cloud"), "page", "--ttl", "15m"]
    return (await run_to_end("page", command, place.logs / "coordinator.log", _environment(place))).strip()


async def _served(core: Core, node_id: str, report: Report) -> dict[str, str]:
    """Rolls out the release in force of each model that the node does not serve yet; gives what it serves then, by model.

    A release that cannot be served is reported, and the others are served. Raises FleetError where none can be.
    """
    in_force, failed = await releases_in_force(core.ledger), []
    for model, release in in_force.items():
        if (await _serves(core, node_id)).get(model) in await _fitting(core, node_id, release):
            continue
        report(f"release {release.release_id}: measured on this machine, then served")
        try:
            await _rolled_out(core, release)
        except FleetError as error:
            failed.append(str(error))
            report(failed[-1])
    if len(failed) == len(in_force):
        raise FleetError("; ".join(failed), hint="littoral-cloud rollout list")
    names = {}
    for model, digest in (await _serves(core, node_id)).items():
        doc = await core.ledger.get("artifact", digest)
        names[model] = str(doc.body["name"]) if doc else digest
    return names


async def _rolled_out(core: Core, release: Release) -> None:
    """Raises FleetError where it did not pass, saying why."""
    rollout_id = await start_rollout(core.ledger, release, core.clock(), policy_with(PROBATION_S), actor="up")
    rollout = await wait(core.ledger, rollout_id, ROLLOUT_S)
    if rollout.state is not RolloutState.SUCCEEDED:
        why = rollout.reason or "; ".join(no.reason for rule in rollout.refused for no in rule.first)
        raise FleetError(
            f"release {release.release_id}: {rollout.state}: {why}", hint=f"littoral-cloud rollout show {rollout_id}"
        )


async def _connected(core: Core, node_id: str, began: float) -> bool | None:
    """True once the cloud has this run's hello of the node, whose budget may differ from the last one's. None: not yet."""
    doc = await core.ledger.get("presence", node_id)
    presence = load(Presence, doc) if doc else None
    return True if presence and presence.connected and presence.since >= began else None


async def _fitting(core: Core, node_id: str, release: Release) -> set[str]:
    """The best of a release inside this node's budget, all of equals; empty where none is, or none was measured yet."""
    rows = (await explain_node(core.ledger, node_id, release.model))[release.model].rows
    within = [row for row in rows if row.manifest_digest in release.artifacts and not row.out]
    best = max((row.score for row in within), default=None)
    return {row.manifest_digest for row in within if row.score == best}


async def _serves(core: Core, node_id: str) -> dict[str, str]:
    """Manifest digests by model."""
    doc = await core.ledger.get("reported", node_id)
    models = load(Reported, doc).models if doc else {}
    return {name: model.serving for name, model in models.items() if model.serving}


async def _newest_first(core: Core, serves: dict[str, str]) -> list[tuple[str, str]]:
    """By when the release in force of each model was made."""
    made = {model: release.created_at for model, release in (await releases_in_force(core.ledger)).items()}
    return sorted(serves.items(), key=lambda held: (-made.get(held[0], 0.0), held[0]))


async def _while_both_run(coordinator: Command, node: asyncio.Task[str], stop: asyncio.Event) -> None:
    stopped = asyncio.create_task(stop.wait(), name="stop")
    ended = asyncio.create_task(coordinator.ended(), name="coordinator")
    try:
        await asyncio.wait([stopped, ended, node], return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            return
        why = f"coordinator: ended by itself: {coordinator.last_words()}" if ended.done() else node.result()
        raise NodeEnded(why, hint="its log is in DATA_DIR/logs")
    finally:
        for task in (stopped, ended):
            task.cancel()
        await asyncio.gather(stopped, ended, return_exceptions=True)


def _ports(ports_file: Path) -> tuple[int, int]:
    """Those of the last time; else two that are free now, which are written down. Raises BadInput where the file is damaged."""
    if not ports_file.exists():
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
            ports = one.getsockname()[1], two.getsockname()[1]
        ports_file.write_text(json.dumps(ports) + "\n")
        return ports
    try:
        enrolment, fleet = json.loads(ports_file.read_text())
        return int(enrolment), int(fleet)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{ports_file}: is damaged", hint="remove it and the node's folder, and start again") from error


def _environment(place: LocalFleet) -> dict[str, str]:
    return {"LITTORAL_DATA_DIR": str(place.settings.data_dir)}


def _host() -> str:
    return "".join(c if c.isalnum() else "-" for c in os.uname().nodename.lower())[:40].strip("-") or "here"
