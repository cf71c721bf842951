"""The typer application of a noun: plain help, no shell completion, an example."""

from __future__ import annotations

import inspect
from typing import Any

import click
import typer


def noun(help: str, example: str = "") -> typer.Typer:
    """`example`: of a noun with commands; each command has its own example. "": the noun is a command itself."""
    epilog = f"Example: {example}" if example else None
    made = typer.Typer(help=help, epilog=epilog, no_args_is_help=bool(example), rich_markup_mode=None, add_completion=False)
    if example:
        made.callback()(lambda: None)  # without it typer makes a single command the noun itself
    return made


def command_of(app: typer.Typer) -> click.Command:
    """The click command of a noun. typer 0.20 loses the help of arguments with click 8.5, which prints a second list of them."""
    command: Any = typer.main.get_command(app)
    for each in getattr(command, "commands", {"": command}).values():
        each.format_arguments = lambda *_: None
        infos = typer.utils.get_params_from_function(inspect.unwrap(each.callback))
        for parameter in each.params:
            if isinstance(parameter, typer.core.TyperArgument):
                parameter.help = infos[parameter.name].default.help
    made: click.Command = command
    return made
