"""install, upgrade and uninstall from a wheel that is not installed: see the package's docstring."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from littoral.errors import FleetError
from littoral_node.client.error_output import print_error
from littoral_node.installing.arguments import COMMANDS, add_commands


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m littoral_node.installing", description="Puts a Littoral node on this machine."
    )
    add_commands(parser.add_subparsers(dest="command", required=True, metavar="COMMAND"))
    parsed = parser.parse_args(arguments)
    try:
        return COMMANDS[parsed.command](parsed, os.environ)
    except FleetError as error:
        print_error(error, parsed.format, program=parser.prog)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
