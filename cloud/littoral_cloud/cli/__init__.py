"""littoral-cloud. One file a noun, `cloud/littoral_cloud/cli/NOUN.py` with a typer `app`, imported only when the noun is used."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from littoral import __version__, streams
from littoral.errors import FleetError, NoSpace, Unavailable, is_full
from littoral_cloud.settings import PREFIX
from littoral_cloud.terminal.output import Format, emit_error

typer.core.HAS_RICH = False  # help is plain text: typer would escape "[default: 1]" for rich even where rich is not used

NOUNS = {
    "serve": "Run the coordinator.",
    "demo": "The whole loop on this machine.",
    "init": "Begin a project: a recipe, budgets, and what to type.",
    "up": "Serve your newest release on this machine: a coordinator and one node.",
    "train": "Teacher, students, release: from a data set.",
    "compress": "Search for the best students for a budget.",
    "token": "Join tokens: what a new node needs.",
    "node": "The nodes of the fleet.",
    "artifact": "Signed models.",
    "release": "Models that may go out together.",
    "rollout": "Bring a release to the nodes, in waves.",
    "run": "Federated runs.",
    "hint": "What nodes asked the teacher, and both answers.",
    "audit": "Who did what, and whether the trail is whole.",
    "doctor": "Is this machine fit to run the coordinator?",
}

INTERRUPTED = 130


class _Nouns(typer.core.TyperGroup):
    """Knows the nouns by name; imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [noun for noun in NOUNS if importlib.util.find_spec(f"{__name__}.{noun}") is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module: Any = importlib.import_module(f"{__name__}.{cmd_name}")
        return typer.main.get_command(module.app)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Nouns"):
            formatter.write_dl([(noun, NOUNS[noun]) for noun in self.list_commands(ctx)])


root = typer.Typer(
    cls=_Nouns,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: littoral-cloud token create --name gateway --ttl 24h",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"littoral-cloud {__version__}")
        raise typer.Exit


@root.callback()
def _root(
    data_dir: Annotated[Path | None, typer.Option(help="Keys, blobs and the embedded Redis. [LITTORAL_DATA_DIR]")] = None,
    redis_url: Annotated[str | None, typer.Option(help="Unset: the embedded one. [LITTORAL_REDIS_URL]")] = None,
    redis_password_file: Annotated[Path | None, typer.Option(help="[LITTORAL_REDIS_PASSWORD_FILE]")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Say everything; show where an error came from.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and end.")] = False,
) -> None:
    """Keeps one model and a fleet of machines in step."""
    # To the environment and not to a variable: the worker processes that we start read the same settings.
    for name, value in (("DATA_DIR", data_dir), ("REDIS_URL", redis_url), ("REDIS_PASSWORD_FILE", redis_password_file)):
        if value is not None:
            os.environ[PREFIX + name] = str(value)
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )


def execute(arguments: Sequence[str]) -> int:
    """Runs one command line and gives its exit code."""
    debug = "--debug" in arguments
    try:
        code = typer.main.get_command(root).main(list(arguments), prog_name="littoral-cloud", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        return streams.finished(streams.PIPE_CLOSED)
    except Exception as error:  # noqa: BLE001 - the outermost place: an operator reads a line, not a traceback
        if debug:
            traceback.print_exc()
        shown = _family(error)
        emit_error(shown, _format(arguments))
        return shown.exit_code


def _format(arguments: Sequence[str]) -> Format:
    """In which form errors are wanted, of a command line that may have failed before it was parsed."""
    joined = "\0".join(arguments)
    return Format.JSON if "--format\0json" in joined or "--format=json" in joined else Format.TABLE


def _family(error: BaseException) -> FleetError:
    """The FleetError in an error, or one that says what it was."""
    if isinstance(error, FleetError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return _family(error.exceptions[0])
    if isinstance(error, OSError) and is_full(error):
        return NoSpace(f"{error.filename or 'disk'}: {error.strerror}", hint="make room there, then again")
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return Unavailable(what, hint="see that it is there and may be read and written" if error.filename else "")
    return FleetError(f"{type(error).__name__}: {error}", hint="run it again with --debug right after littoral-cloud")


def main() -> None:
    streams.prepare()
    sys.exit(streams.finished(execute(sys.argv[1:])))
