"""littoral-cloud rollout watch, and start --watch: each change of a rollout until its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from littoral.backoff import Backoff
from littoral.errors import FleetError, Unavailable
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.local.how_to_ask import node_here
from littoral_cloud.local.snippets import USUAL
from littoral_cloud.rollouts.state import RolloutState
from littoral_cloud.terminal.output import Format, emit, emit_line, notice
from littoral_cloud.terminal.text import counted, printable

AWAY = Backoff(0.5, 10.0)
"""Between two tries while the coordinator is away."""


class NotPromoted(FleetError):
    """The watched rollout did not succeed."""

    code = "not-promoted"
    exit_code = 11


async def print_or_follow(fleet: FleetClient, started: Mapping[str, Any], watching: bool, format: Format) -> None:
    if watching:
        await follow(fleet, started["rollout"], format)
        return
    emit({"rollout": started["rollout"], "state": started["state"]}, format)
    if started["waits_for"]:
        notice(f"{started['rollout']} waits for {'; '.join(started['waits_for'])}")


async def follow(fleet: FleetClient, rollout_id: str, format: Format) -> None:
    """Raises NotPromoted, and what the first look at the rollout raises."""
    printed, noted = "", False
    async for found in looks(fleet, rollout_id):
        if found["no_coordinator"] and not noted:
            noted = True
            notice(found["no_coordinator"])
        if (line := _line(found)) != printed:
            printed = line
            if format == Format.JSON:
                emit_line({"rollout": rollout_id, "state": found["state"], "nodes": found["first"], "told": found["told"]})
            else:
                emit(f"{rollout_id}: {line}")
        if found["ended"]:
            break
    if found["state"] != RolloutState.SUCCEEDED:
        raise NotPromoted(f"rollout {rollout_id}: {found['state']}: {found['reason']}", hint="littoral-cloud rollout show")
    if format != Format.JSON and found["served_by"] is not None:
        await _print_how_to_ask(fleet, found)


async def looks(fleet: FleetClient, rollout_id: str) -> AsyncIterator[Mapping[str, Any]]:
    """How far it is, now and after each change, until it has ended. A coordinator that is away meanwhile is waited for."""
    path = f"/rollouts/{part(rollout_id)}/progress"
    found = await fleet.get(path)
    away = 0
    while True:
        try:
            async with fleet.events("rollout") as changes:
                found = await fleet.get(path)
                away = 0
                yield found
                while not found["ended"]:
                    if (await anext(changes))["id"] not in (rollout_id, ""):
                        continue
                    yield (found := await fleet.get(path))
                return
        except Unavailable as error:
            if not away:
                notice(f"{error.message}; waiting until it is back")
            away += 1
            await asyncio.sleep(AWAY.bound_s(away))


async def _print_how_to_ask(fleet: FleetClient, found: Mapping[str, Any]) -> None:
    name, node_id = found["served_by"]
    here = node_here(fleet.folder, node_id) if fleet.folder is not None else None
    at = here or USUAL
    ask = f"/artifacts/{part(found['served'])}/how-to-ask"
    words = (await fleet.get(ask, http=at.http, grpc=at.grpc, folder=at.folder))["words"]
    where = "Ask it" if here else "Ask it on that node, at an agent's default addresses"
    print(f"\n{name} serves {printable(found['student'])}. {where}:\n\n{words}", flush=True)


def _line(found: Mapping[str, Any]) -> str:
    state, missing = found["state"], ""
    if state == RolloutState.PENDING:
        missing = f"waits for {'; '.join(found['waits_for'])}" if found["waits_for"] else ""
        missing = missing or (f"waits: {found['reason']}" if found["reason"] else "")
    paused = f"paused by {found['paused_by']}" if found["paused_by"] else ""
    return " ".join(filter(None, (state, of_wave(found), missing, paused)))


def of_wave(found: Mapping[str, Any]) -> str:
    """The words behind WAVE: "1 of 3, 12 nodes: a, b, c, d, e, and 7 more". Without names until the first node is asked."""
    if not found["wave"]:
        return ""
    names, told = list(found["first_names"]), found["told"]
    names += [f"and {told - len(names)} more"] if told > len(names) else []
    head = f"{found['wave']} of {found['waves']}, {counted(found['size'], 'node')}"
    return f"{head}: {', '.join(names)}" if names else head
