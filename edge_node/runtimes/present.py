"""Says what a runtime is here, from a process of its own.

    python -m edge_node.runtimes.present NAME

Prints its Facts as one line of JSON. Exit code 1, and the reason as the last line on stderr, where it cannot be used.
"""

from __future__ import annotations

import sys

from edge_node.runtimes import look
from littoral.errors import RuntimeFailure


def main() -> int:
    try:
        found = look(sys.argv[1])
    except RuntimeFailure as error:
        print(error.message, file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001 - whatever a foreign library raises while it loads, it is not usable
        print(f"cannot be imported: {error}", file=sys.stderr)
        return 1
    print(found.as_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
