"""How a function becomes a command of a noun: its example, its --data-dir, and the fleet that it asks."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import typer

from littoral_cloud.client.fleet_client import FleetClient, fleet_client
from littoral_cloud.settings import load_settings
from littoral_cloud.terminal.output import DataDirOption

FOLDER = "LITTORAL_DATA_DIR"

F = TypeVar("F", bound=Callable[..., Awaitable[None]])


def command(app: typer.Typer, name: str | None = None, *, example: str, help: str | None = None) -> Callable[[F], F]:
    """Adds a coroutine function to a noun. Its parameters are the command's arguments and options, but for the first: a
    `FleetClient` asks the operator API, a `Core` is the data folder itself. The command gets the option --data-dir.

    Args:
        name: default: the function's.
        example: without "littoral-cloud".
        help: default: the function's docstring.
    """

    def add(function: F) -> F:
        app.command(name, epilog=f"Example: littoral-cloud {example}", help=help)(_for_typer(function))
        return function

    return add


def _for_typer(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    async def work(data_dir: Path | None, given: dict[str, object]) -> None:
        settings = load_settings(data_dir=data_dir)
        if first.annotation is FleetClient:
            async with fleet_client(settings, folder_was_named=FOLDER in os.environ or data_dir is not None) as fleet:
                await function(fleet, **given)
        else:
            from littoral_cloud.app import open_existing

            async with open_existing(settings) as core:
                await function(core, **given)

    def run(data_dir: Path | None, **given: object) -> None:
        asyncio.run(work(data_dir, given))

    first, *options = inspect.signature(function, eval_str=True).parameters.values()
    kind = inspect.Parameter.KEYWORD_ONLY
    folder = inspect.Parameter("data_dir", kind, default=None, annotation=DataDirOption)
    at = len(options) - 1 if options and options[-1].name == "format" else len(options)
    shown = [each.replace(kind=kind) for each in (*options[:at], folder, *options[at:])]
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in shown}
    return run
