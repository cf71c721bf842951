"""Says whether a runtime can be imported here, from a process of its own.

    python -m edge_node.runtimes.present NAME

Prints the version. Exit code 1, and the reason as the last line on stderr, where it cannot be imported. A library that is not for
this CPU ends its process (SIGILL), and each takes 3 to 20 MB that an agent which serves with another one need not hold.
"""

from __future__ import annotations

import sys

from edge_node.runtimes import version


def main() -> int:
    try:
        found = version(sys.argv[1])
    except Exception as error:  # noqa: BLE001 - whatever a foreign library raises while it loads, it is not usable
        print(f"cannot be imported: {error}", file=sys.stderr)
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
