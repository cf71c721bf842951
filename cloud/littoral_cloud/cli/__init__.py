"""The command littoral-cloud. Each noun is a file, `cli/NOUN.py` with a typer `app`, and is imported when it is used."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from littoral import __version__, streams
from littoral.errors import BadInput, FleetError, NoSpace, Unavailable, is_full
from littoral_cloud.cli.noun import command_of
from littoral_cloud.settings import to_environment
from littoral_cloud.terminal.output import Format, emit_error

typer.core.HAS_RICH = False  # plain help: typer would escape "[default: 1]" for rich even without rich

NOUNS = {
    "serve": "Run the coordinator.",
    "demo": "Run the whole loop on this machine.",
    "init": "Write a small project: a recipe, a budget, a README.",
    "up": "Serve your newest releases on this machine.",
    "train": "Train students on a data set and release them.",
    "compress": "Search for the best students inside a budget.",
    "login": "Use the fleet of a coordinator on another machine.",
    "logout": "Forget the coordinator that login named.",
    "page": "Open the page: the fleet in a browser.",
    "operator": "Manage the tokens of operators.",
    "token": "Manage join tokens for new nodes.",
    "node": "Manage the nodes of the fleet.",
    "artifact": "Manage signed models.",
    "release": "Manage releases: artifacts of one model for the fleet.",
    "cohort": "Name filters over nodes, for rollouts.",
    "rollout": "Bring a release to the nodes, in waves.",
    "run": "Manage federated runs.",
    "sample": "Read the escalations of nodes, with both answers.",
    "simulate": "Simulate a fleet: what a policy would do to it.",
    "webhook": "Send events to other systems.",
    "fleet": "Show or change which keys and blobs are the fleet's.",
    "events": "Follow what changes in the fleet.",
    "audit": "Read and verify the audit trail.",
    "doctor": "Check this machine and the running coordinator.",
}

INTERRUPTED = 130


class _Nouns(typer.core.TyperGroup):
    """Lists the nouns by name; imports a noun when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [noun for noun in NOUNS if importlib.util.find_spec(f"{__name__}.{noun}") is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module: Any = importlib.import_module(f"{__name__}.{cmd_name}")
        return command_of(module.app)

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
    data_dir: Annotated[Path | None, typer.Option(help="The coordinator's data folder. [LITTORAL_DATA_DIR]")] = None,
    redis_url: Annotated[
        str | None, typer.Option(help="The Redis to use. Default: the embedded one. [LITTORAL_REDIS_URL]")
    ] = None,
    redis_password_file: Annotated[
        Path | None, typer.Option(help="The file with Redis' password. [LITTORAL_REDIS_PASSWORD_FILE]")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log everything, with a traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Trains models, rolls them out to a fleet of machines, and lets the fleet learn."""
    to_environment(DATA_DIR=data_dir, REDIS_URL=redis_url, REDIS_PASSWORD_FILE=redis_password_file)
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )


def execute(arguments: Sequence[str]) -> int:
    """Runs one command line. Returns its exit code. Raises BrokenPipeError where the reader of its output is gone."""
    format = _format(arguments)
    command = typer.main.get_command(root)
    try:
        # Not `command.main`: it ends the process with status 1 where a pipe is closed.
        with command.make_context("littoral-cloud", list(arguments)) as context:
            code = command.invoke(context)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        if format is Format.JSON:
            emit_error(BadInput(error.format_message(), hint=_help_of(error)), format)
        else:
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost place: an operator reads one line, no traceback
        if isinstance(cause := _cause(error), BrokenPipeError):
            raise cause from None
        if "--debug" in arguments:
            traceback.print_exc()
        known = _fleet_error(cause)
        emit_error(known, format)
        return known.exit_code


def _format(arguments: Sequence[str]) -> Format:
    """The format for errors of a command line that may not parse."""
    joined = "\0".join(arguments)
    return Format.JSON if "--format\0json" in joined or "--format=json" in joined else Format.TABLE


def _help_of(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'littoral-cloud'} --help"


def _cause(error: BaseException) -> BaseException:
    """The first error inside a group."""
    return _cause(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _fleet_error(error: BaseException) -> FleetError:
    """A FleetError unchanged; of another error a new one with its text."""
    if isinstance(error, FleetError):
        return error
    if isinstance(error, OSError) and is_full(error):
        return NoSpace(f"{error.filename or 'disk'}: {error.strerror}", hint="make room there, then again")
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return Unavailable(what, hint="check that it exists and that this user may read and write it" if error.filename else "")
    return FleetError(f"{type(error).__name__}: {error}", hint="run it again with --debug right after littoral-cloud")


def main() -> None:
    streams.prepare()
    sys.exit(streams.exit_status(lambda: execute(sys.argv[1:])))
