"""How a function becomes a command of a noun: its example, its --data-dir, and the fleet that it asks."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import click
import typer

from littoral.errors import BadInput
from littoral_cloud.client.fleet_client import FleetClient, fleet_client
from littoral_cloud.settings import load_settings
from littoral_cloud.terminal.output import DataDirOption

F = TypeVar("F", bound=Callable[..., Awaitable[None]])


def command(
    app: typer.Typer,
    name: str | None = None,
    *,
    example: str,
    help: str | None = None,
    makes: bool = False,
    stranger: bool = False,
) -> Callable[[F], F]:
    """Adds a coroutine function to a noun. Its parameters are the command's arguments and options, but for the first: a
    `FleetClient` asks the operator API, a `Core` is the data folder itself. The command gets the option --data-dir.

    Args:
        name: default: the function's.
        example: without "littoral-cloud".
        help: default: the function's docstring.
        makes: where there is no coordinator's data, they are made.
        stranger: also where the keys and blobs are not the fleet's.
    """

    def add(function: F) -> F:
        app.command(name, epilog=f"Example: littoral-cloud {example}", help=help)(_for_typer(function, makes, stranger))
        return function

    return add


@asynccontextmanager
async def fleet_of(data_dir: Path | None, *, makes: bool = False, stranger: bool = False) -> AsyncIterator[FleetClient]:
    """The operator API that a command asks. `data_dir`: its option. Raises as `fleet_client`."""
    by_flag = data_dir is not None or click.get_current_context().find_root().params.get("data_dir") is not None
    settings = load_settings(data_dir=data_dir)
    async with fleet_client(settings, folder_by_flag=by_flag, makes=makes, stranger=stranger) as fleet:
        yield fleet


def _for_typer(function: Callable[..., Awaitable[None]], makes: bool, stranger: bool) -> Callable[..., None]:
    async def work(data_dir: Path | None, given: dict[str, object]) -> None:
        if first.annotation is FleetClient:
            async with fleet_of(data_dir, makes=makes, stranger=stranger) as fleet:
                try:
                    await function(fleet, **given)
                except BadInput as error:
                    _name_option(error, named)
                    raise
        else:
            from littoral_cloud.app import open_existing

            async with open_existing(load_settings(data_dir=data_dir)) as core:
                await function(core, **given)

    def run(data_dir: Path | None, **given: object) -> None:
        asyncio.run(work(data_dir, given))

    first, *options = inspect.signature(function, eval_str=True).parameters.values()
    named = {each.name for each in options if _is_option(each)}
    kind = inspect.Parameter.KEYWORD_ONLY
    folder = inspect.Parameter("data_dir", kind, default=None, annotation=DataDirOption)
    at = len(options) - 1 if options and options[-1].name == "format" else len(options)
    shown = [each.replace(kind=kind) for each in (*options[:at], folder, *options[at:])]
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in shown}
    return run


def _name_option(error: BadInput, options: Collection[str]) -> None:
    """A field that the API names is what the option of this name gave."""
    field = error.message.partition(":")[0]
    if field in options:
        error.message = f"--{field.replace('_', '-')}{error.message.removeprefix(field)}"


def _is_option(parameter: inspect.Parameter) -> bool:
    return any(isinstance(each, typer.models.OptionInfo) for each in getattr(parameter.annotation, "__metadata__", ()))
