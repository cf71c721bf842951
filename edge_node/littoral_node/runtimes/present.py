"""Says what runtimes are here, from a process of its own.

    python -m littoral_node.runtimes.present NAME...

Prints one line for each, as soon as it is known.
"""

from __future__ import annotations

import sys

from littoral.errors import RuntimeFailure
from littoral_node.runtimes import look
from littoral_node.runtimes.facts import Verdict, line_of


def main() -> None:
    for name in sys.argv[1:]:
        print(f"\n{line_of(name, _verdict(name))}", flush=True)


def _verdict(name: str) -> Verdict:
    try:
        return look(name), ""
    except RuntimeFailure as error:
        return None, error.message
    except Exception as error:  # noqa: BLE001 - whatever a foreign library raises while it loads, it is not usable
        return None, f"cannot be imported: {error}"


if __name__ == "__main__":
    main()
