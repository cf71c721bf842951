"""The command lines of `littoral-node install`, `upgrade` and `uninstall`: all of this package that a running agent imports."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from littoral.errors import BadInput
from littoral_node.client.cli import add_command
from littoral_node.identity.folder import DATA
from littoral_node.installing.layout import PREFIX, USER

ALWAYS = "edge"
EXTRAS = ("images", "edge-train", "ncnn", "coreml")
MEMORY = re.compile(r"[1-9][0-9]*[KMG]?|infinity")
TRAINS, INFERS = "1500M", "512M"


def add_commands(nouns: Any) -> None:
    """Adds the three to the commands of `littoral-node`."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--format", choices=("text", "json"), default="text", help="Output format. Default: text.")
    common.add_argument("--dry-run", action="store_true", help="Print the steps and do nothing.")
    common.add_argument("--prefix", type=Path, metavar="DIR", help=f"The folder of the installation. Default: {PREFIX}.")
    origin = argparse.ArgumentParser(add_help=False)
    origin.add_argument(
        "--from",
        dest="origin",
        type=Path,
        metavar="PATH",
        help="A wheel, a folder of wheels or a source tree. Default: the package index.",
    )
    origin.add_argument("--index-url", metavar="URL", help="Another package index, for this command.")
    origin.add_argument("--offline", action="store_true", help="Use no index: the folder of --from holds all packages.")
    origin.add_argument("--constraint", type=Path, metavar="FILE", help="Versions of packages, in pip's format.")

    install = add_command(
        nouns,
        "install",
        "Install the agent: an environment, a user, a data folder and a systemd unit.",
        "sudo littoral-node install littoral-join-1.WyJjb... --name gateway",
        common,
        origin,
    )
    install.add_argument(
        "join_line", nargs="?", metavar="JOIN_LINE", help="Enrol too, with the line that `littoral-cloud token create` printed."
    )
    install.add_argument("--join-file", type=Path, metavar="PATH", help="The file with the join line.")
    install.add_argument("--name", default="", metavar="NAME", help="The node's name. Default: the cloud draws one.")
    install.add_argument("--data", type=Path, metavar="DIR", help=f"The only folder that the agent writes. Default: {DATA}.")
    install.add_argument(
        "--extras", default="images", metavar="NAMES", help=f"Of {', '.join(EXTRAS)}, separated by commas. Default: images."
    )
    install.add_argument("--python", type=Path, metavar="PATH", help="The interpreter for the environment. Default: this one.")
    install.add_argument("--user", default=USER, metavar="NAME", help=f"The system user of the agent. Default: {USER}.")
    install.add_argument(
        "--memory-max", metavar="SIZE", help=f"MemoryMax of the unit. Default: {INFERS}; with edge-train {TRAINS}."
    )
    install.add_argument("--devices", action="store_true", help="Let the agent use accelerators and cameras.")
    install.add_argument("--no-systemd", action="store_true", help="Make no unit and no user; print the command to run instead.")
    install.add_argument(
        "--root", type=Path, metavar="DIR", help="Put all files below DIR and start nothing: for a look, or for an image."
    )

    upgrade = add_command(
        nouns,
        "upgrade",
        "Install a new release beside the old one, and go back if it fails.",
        "sudo littoral-node upgrade --from littoral-0.2.0-py3-none-any.whl",
        common,
        origin,
    )
    upgrade.add_argument(
        "--ready-within", type=float, default=120.0, metavar="S", help="Go back when it is not ready in S seconds. Default: 120."
    )
    upgrade.add_argument("--keep", type=int, choices=(0, 1), default=1, help="How many old releases to keep. Default: 1.")

    uninstall = add_command(
        nouns,
        "uninstall",
        "Remove the agent from this machine, and its data too with --purge.",
        "sudo littoral-node uninstall --keep-data",
        common,
    )
    fate = uninstall.add_mutually_exclusive_group()
    fate.add_argument("--purge", action="store_true", help="Remove the data folder: identity, models, reports.")
    fate.add_argument("--keep-data", action="store_true", help="Keep the data folder: a later install is the same node.")


def join_line_of(parsed: argparse.Namespace, environment: Mapping[str, str]) -> str:
    """Of the command line, its file or the environment; "": there is none. Raises BadInput where the file cannot be read."""
    if parsed.join_line or parsed.join_file is None:
        return parsed.join_line or environment.get("LITTORAL_NODE_JOIN", "")
    try:
        return str(parsed.join_file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"--join-file {parsed.join_file}: cannot be read: {error}", hint="name a file that this user may read"
        ) from error


def _called(name: str) -> Callable[[argparse.Namespace, Mapping[str, str]], int]:
    def call(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
        from littoral_node.installing import cli

        done: int = getattr(cli, name)(parsed, environment)
        return done

    return call


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Mapping[str, str]], int]] = {
    name: _called(name) for name in ("install", "upgrade", "uninstall")
}
