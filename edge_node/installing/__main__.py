"""install, upgrade and uninstall alone, out of a wheel that is not installed: see the package's own words."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from edge_node.complaint import complain
from edge_node.installing.words import COMMANDS, add_commands
from littoral.errors import FleetError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m edge_node.installing", description="Puts a Littoral node on this machine.")
    add_commands(parser.add_subparsers(dest="command", required=True, metavar="COMMAND"))
    parsed = parser.parse_args(arguments)
    try:
        return COMMANDS[parsed.command](parsed, os.environ)
    except FleetError as error:
        complain(error, parsed.format, program=parser.prog)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
