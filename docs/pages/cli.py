"""docs/reference/cli.md: every command of littoral-cloud and littoral-node, from their parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from enum import Enum
from typing import Any

import click
import typer

from littoral_cloud.cli import root
from littoral_node.cli import build_parser
from pages.markdown import NOTICE, code, table

HEAD = f"""\
# Commands

{NOTICE}
Results go to standard output, errors and progress to standard error. The exit status is the error's ([errors.md](errors.md))."""
EXAMPLE = "Example: "
Row = tuple[str, str, str]


def page() -> str:
    return "\n\n".join([HEAD, *_of_click(typer.main.get_command(root), "littoral-cloud", None), *_of_argparse()]) + "\n"


def _of_click(command: click.Command, name: str, above: click.Context | None) -> Iterator[str]:
    context = click.Context(command, parent=above, info_name=name.rsplit(" ", 1)[-1])
    rows = [_click_row(parameter, context) for parameter in command.params if not getattr(parameter, "hidden", False)]
    if isinstance(command, click.Group):
        if above is None:
            yield from _section(2, name, command.help, rows, command.epilog)
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            assert found is not None
            yield from _of_click(found, f"{name} {each}", context)
    else:
        yield from _section(3, name, command.help, rows, command.epilog)


def _click_row(parameter: Any, context: click.Context) -> Row:
    default = parameter.get_default(context)
    shown = default.value if isinstance(default, Enum) else default
    flag = isinstance(parameter, click.Option) and parameter.is_flag
    if isinstance(parameter, click.Argument):
        names = parameter.make_metavar(context)
    else:
        names = ", ".join([*parameter.opts, *parameter.secondary_opts])
        names = names if flag else f"{names} {parameter.make_metavar(context)}"
    value = "required" if parameter.required else "" if flag or shown in (None, "") else str(shown)
    return _row(names, parameter.help or "", value)


def _of_argparse() -> Iterator[str]:
    parser = build_parser()
    subparsers = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    yield from _section(2, "littoral-node", parser.description, _argparse_rows(parser), parser.epilog)
    for name, command in subparsers.choices.items():
        yield from _section(3, f"littoral-node {name}", command.description, _argparse_rows(command), command.epilog)


def _argparse_rows(parser: argparse.ArgumentParser) -> list[Row]:
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        choices = "|".join(map(str, action.choices)) if action.choices else action.metavar or ""
        names = ", ".join(action.option_strings) + (f" {choices}" if action.nargs != 0 else "")
        rows.append(_row(names.strip(), (action.help or "").replace("%%", "%"), ""))
    return rows


def _row(names: str, help: str, default: str) -> Row:
    """`help` is "Meaning. Default: VALUE. [VARIABLE]"; the last two may be missing."""
    meaning, _, rest = help.partition("Default: ")
    value, _, variable = rest.partition(". [")
    return names, f"{meaning}[{variable}" if variable else meaning, default or value.removesuffix(".")


def _section(level: int, name: str, help: str | None, rows: list[Row], epilog: str | None) -> Iterator[str]:
    """Raises ValueError for a command without help, an example or --format, and for an argument without help."""
    missing = [names for names, meaning, _ in rows if not meaning]
    printed = level == 2 or any(names.startswith("--format") for names, _, _ in rows)
    if not help or missing or not printed or not (epilog or "").startswith(EXAMPLE):
        raise ValueError(f"{name}: lacks help, an example, --format, or the help of {', '.join(missing) or 'no argument'}")
    yield f"{'#' * level} {name}"
    yield " ".join(help.split())
    yield code((epilog or "").removeprefix(EXAMPLE))
    yield table(("argument", "meaning", "default"), ((code(names), meaning, default) for names, meaning, default in rows))
