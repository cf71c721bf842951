"""littoral-cloud rollout: what an operator may tell a running rollout."""

from __future__ import annotations

from typing import Annotated

import typer

from littoral_cloud.cli.command import command
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.terminal.output import Format, FormatOption, emit

RolloutArgument = Annotated[str, typer.Argument(help="The rollout's id.")]


async def abort(fleet: FleetClient, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    """Stop a rollout, and restore the old model on every node that it changed."""
    await fleet.post(f"/rollouts/{part(rollout)}/abort")
    emit({"rollout": rollout, "abort": True} if format == Format.JSON else f"{rollout} is asked to stop", format)


async def approve(fleet: FleetClient, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    """Approve a rollout that another person has started."""
    await fleet.post(f"/rollouts/{part(rollout)}/approve")
    emit({"rollout": rollout, "approved": True} if format == Format.JSON else f"{rollout} is approved", format)


async def pause(fleet: FleetClient, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    """Start no new wave, and wait for silent nodes, until it is resumed. A node that fails still stops the rollout."""
    await fleet.post(f"/rollouts/{part(rollout)}/pause")
    emit({"rollout": rollout, "paused": True} if format == Format.JSON else f"{rollout} is paused", format)


async def resume(fleet: FleetClient, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    """Continue a paused rollout. Its deadline moves by the time that it was paused."""
    await fleet.post(f"/rollouts/{part(rollout)}/resume")
    emit({"rollout": rollout, "paused": False} if format == Format.JSON else f"{rollout} goes on", format)


async def promote(fleet: FleetClient, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    """Start the next wave now, where every node of the running one that has answered has passed."""
    await fleet.post(f"/rollouts/{part(rollout)}/promote")
    emit({"rollout": rollout, "promoted": True} if format == Format.JSON else f"{rollout}: the next wave starts", format)


def add_steering(app: typer.Typer) -> None:
    """Adds these commands to the noun."""
    for function in (approve, abort, pause, resume, promote):
        command(app, example=f"rollout {function.__name__} digits-1-r1")(function)
