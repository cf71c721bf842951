"""littoral-cloud rollout: what an operator may tell a running rollout."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from littoral_cloud.app import Core
from littoral_cloud.cli.command import command
from littoral_cloud.rollouts import steering
from littoral_cloud.terminal.output import Format, FormatOption, emit

RolloutArgument = Annotated[str, typer.Argument(help="The rollout's id.")]


async def abort(core: Core, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    """Stop a rollout, and restore the old model on every node that it changed."""
    await steering.abort(core.ledger, rollout, actor=getpass.getuser())
    emit({"rollout": rollout, "abort": True} if format == Format.JSON else f"{rollout} is asked to stop", format)


async def approve(core: Core, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    """Approve a rollout that another person has started."""
    await steering.approve(core.ledger, rollout, core.clock(), getpass.getuser())
    emit({"rollout": rollout, "approved": True} if format == Format.JSON else f"{rollout} is approved", format)


async def pause(core: Core, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    """Start no new wave, and wait for silent nodes, until it is resumed. A node that fails still stops the rollout."""
    await steering.pause(core.ledger, rollout, core.clock(), getpass.getuser())
    emit({"rollout": rollout, "paused": True} if format == Format.JSON else f"{rollout} is paused", format)


async def resume(core: Core, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    """Continue a paused rollout. Its deadline moves by the time that it was paused."""
    await steering.resume(core.ledger, rollout, core.clock(), getpass.getuser())
    emit({"rollout": rollout, "paused": False} if format == Format.JSON else f"{rollout} goes on", format)


async def promote(core: Core, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    """Start the next wave now, where every node of the running one that has answered has passed."""
    await steering.promote(core.ledger, rollout, core.clock(), getpass.getuser())
    emit({"rollout": rollout, "promoted": True} if format == Format.JSON else f"{rollout}: the next wave starts", format)


def add_steering(app: typer.Typer) -> None:
    """Adds these commands to the noun."""
    for function in (approve, abort, pause, resume, promote):
        command(app, example=f"rollout {function.__name__} digits-1-r1")(function)
