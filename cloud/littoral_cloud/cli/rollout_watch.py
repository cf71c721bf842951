"""littoral-cloud rollout watch, and start --watch: each change of a rollout until its end."""

from __future__ import annotations

from collections.abc import Sequence

from littoral.errors import FleetError
from littoral_cloud.app import Core
from littoral_cloud.fleet.records import Node, load
from littoral_cloud.local.discovery import Serving
from littoral_cloud.local.how_to_ask import how_to_ask, node_here
from littoral_cloud.local.snippets import USUAL
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import Assignment, assignment_id
from littoral_cloud.rollouts.commands import read_rollout
from littoral_cloud.rollouts.events import Waits
from littoral_cloud.rollouts.permission import not_yet
from littoral_cloud.rollouts.state import ENDED, KIND, Rollout, RolloutState, Wave
from littoral_cloud.terminal.output import Format, emit, emit_line, notice
from littoral_cloud.terminal.text import counted, printable


class NotPromoted(FleetError):
    """The watched rollout did not succeed."""

    code = "not-promoted"
    exit_code = 11


async def print_or_follow(core: Core, rollout_id: str, watching: bool, format: Format) -> None:
    if watching:
        await follow(core, rollout_id, format)
        return
    _, rollout = await read_rollout(core.ledger, rollout_id)
    emit({"rollout": rollout_id, "state": rollout.state}, format)
    if (waits := not_yet(rollout, rollout_id, core.clock())) is not None and isinstance(waits, Waits):
        notice(f"{rollout_id} waits for {'; '.join(waits.waits_for)}")


async def follow(core: Core, rollout_id: str, format: Format) -> None:
    printed, settings = "", core.settings
    _, rollout = await read_rollout(core.ledger, rollout_id)
    if rollout.state not in ENDED and Serving.read(settings.data_dir) is None:
        elsewhere = ", or one that serves this Redis from another machine" if settings.redis_url else ""
        notice(f"no coordinator runs on {settings.data_dir}: the rollout waits for one: littoral-cloud serve{elsewhere}")
    async with core.ledger.watch(KIND) as news:
        while True:
            _, rollout = await read_rollout(core.ledger, rollout_id)
            wave = rollout.running_wave
            who = await of_wave(core, rollout, wave) if wave else ""
            missing = f"waits: {rollout.reason}" if rollout.state is RolloutState.PENDING and rollout.reason else ""
            if rollout.state is RolloutState.PENDING and isinstance(early := not_yet(rollout, rollout_id, core.clock()), Waits):
                missing = f"waits for {'; '.join(early.waits_for)}"
            held = f"paused by {rollout.paused_by}" if rollout.paused_by else ""
            if (line := " ".join(filter(None, (rollout.state.value, who, missing, held)))) != printed:
                printed = line
                if format == Format.JSON:
                    told = {"nodes": wave.first if wave else [], "told": wave.told if wave else 0}
                    emit_line({"rollout": rollout_id, "state": rollout.state, **told})
                else:
                    emit(f"{rollout_id}: {line}")
            if rollout.state in ENDED:
                break
            await anext(news)
    if rollout.state is not RolloutState.SUCCEEDED:
        raise NotPromoted(f"rollout {rollout_id}: {rollout.state}: {rollout.reason}", hint="littoral-cloud rollout show")
    first = rollout.waves[0].first[:1] if rollout.waves else ()
    doc = await core.ledger.get(ASSIGNMENT, assignment_id(rollout_id, first[0])) if first else None
    if format != Format.JSON and doc is not None:
        given = load(Assignment, doc)
        [name] = await _names(core, first)
        here = node_here(settings.data_dir, given.node_id)
        words = how_to_ask(core, rollout.model, given.manifest_digest, here or USUAL)
        where = "Ask it" if here else "Ask it on that node, at an agent's default addresses"
        print(f"\n{name} serves {printable(given.name)}. {where}:\n\n{words}", flush=True)


async def of_wave(core: Core, rollout: Rollout, wave: Wave) -> str:
    """The words behind WAVE: "1 of 3, 12 nodes: a, b, c, d, e, and 7 more". Without names until the first node is asked."""
    names = ", ".join(await _first_of_wave(core, wave))
    head = f"{wave.number} of {rollout.waves_started + rollout.waves_to_come}, {counted(wave.size, 'node')}"
    return f"{head}: {names}" if names else head


async def _first_of_wave(core: Core, wave: Wave) -> tuple[str, ...]:
    names = await _names(core, wave.first)
    return (*names, f"and {wave.told - len(names)} more") if wave.told > len(names) else tuple(names)


async def _names(core: Core, node_ids: Sequence[str]) -> list[str]:
    docs = await core.ledger.get_many([("node", node_id) for node_id in node_ids])
    return [load(Node, doc).name if doc else node_id for node_id, doc in zip(node_ids, docs, strict=True)]
