"""The words of `littoral-node install`, `upgrade` and `uninstall`: all of the package that an agent which runs imports."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from littoral_node.installing.layout import DATA, PREFIX, USER

_EXAMPLES = {
    "install": "example: sudo littoral-node install littoral-join-1.WyJjb... --name gateway",
    "upgrade": "example: sudo littoral-node upgrade --from littoral-0.2.0-py3-none-any.whl",
    "uninstall": "example: sudo littoral-node uninstall --keep-data",
}
ALWAYS = "edge"
EXTRAS = ("images", "edge-train", "ncnn", "coreml")
MEMORY = re.compile(r"[1-9][0-9]*[KMG]?|infinity")
TRAINS, INFERS = "1500M", "512M"


def add_commands(nouns: Any) -> None:
    """Adds the three to `littoral-node`'s own."""
    form = argparse.ArgumentParser(add_help=False)
    form.add_argument("--format", choices=("text", "json"), default="text", help="how to print (default text)")
    form.add_argument("--dry-run", action="store_true", help="print what it would do, and do nothing")
    form.add_argument("--prefix", type=Path, metavar="DIR", help=f"where it is installed (default {PREFIX})")
    origin = argparse.ArgumentParser(add_help=False)
    origin.add_argument(
        "--from",
        dest="origin",
        type=Path,
        metavar="PATH",
        help="a wheel, a folder of wheels or a source tree; default: the package index",
    )
    origin.add_argument("--index-url", metavar="URL", help="another package index, for this time")
    origin.add_argument("--offline", action="store_true", help="no index: everything is in the folder of --from")
    origin.add_argument("--constraint", type=Path, metavar="FILE", help="versions to keep to, as pip reads them")

    install = nouns.add_parser(
        "install",
        parents=[form, origin],
        help="an environment, a user, a folder and a systemd unit for it",
        epilog=_EXAMPLES["install"],
    )
    install.add_argument(
        "join_line", nargs="?", metavar="JOIN_LINE", help="enrols too: what `littoral-cloud token create` printed"
    )
    install.add_argument("--join-file", type=Path, metavar="PATH", help="file that holds the join line")
    install.add_argument("--name", default="", metavar="NAME", help="what you call this node")
    install.add_argument("--data", type=Path, metavar="DIR", help=f"the one folder that it may write (default {DATA})")
    install.add_argument("--extras", default="images", metavar="NAMES", help=f"by comma, of {', '.join(EXTRAS)} (default images)")
    install.add_argument("--python", type=Path, metavar="PATH", help="interpreter to make the environment of (default: this one)")
    install.add_argument("--user", default=USER, metavar="NAME", help=f"system user that it runs as (default {USER})")
    install.add_argument(
        "--memory-max", metavar="SIZE", help=f"the unit's MemoryMax (default {INFERS}, with edge-train {TRAINS})"
    )
    install.add_argument("--devices", action="store_true", help="it may see accelerators and cameras")
    install.add_argument("--no-systemd", action="store_true", help="no unit and no user; says what to run instead")
    install.add_argument(
        "--root", type=Path, metavar="DIR", help="put all of it below DIR, start nothing: to look at, or for an image"
    )

    upgrade = nouns.add_parser(
        "upgrade",
        parents=[form, origin],
        help="a new release beside the old one, and back if it fails",
        epilog=_EXAMPLES["upgrade"],
    )
    upgrade.add_argument(
        "--ready-within", type=float, default=120.0, metavar="S", help="seconds that the new one has (default 120)"
    )
    upgrade.add_argument("--keep", type=int, choices=(0, 1), default=1, help="how many old releases stay (default 1)")

    uninstall = nouns.add_parser(
        "uninstall", parents=[form], help="take it off this machine; the data as you say", epilog=_EXAMPLES["uninstall"]
    )
    fate = uninstall.add_mutually_exclusive_group()
    fate.add_argument("--purge", action="store_true", help="the data folder goes: identity, models, reports")
    fate.add_argument("--keep-data", action="store_true", help="the data folder stays: installed again, it is the same node")


def _called(name: str) -> Callable[[argparse.Namespace, Mapping[str, str]], int]:
    def call(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
        from littoral_node.installing import cli

        done: int = getattr(cli, name)(parsed, environment)
        return done

    return call


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Mapping[str, str]], int]] = {
    name: _called(name) for name in ("install", "upgrade", "uninstall")
}
