"""Writes the table of the systemd unit in docs/install.md from edge_node/littoral_node/installing/unit.py.

python docs/write_unit.py            writes it
python docs/write_unit.py --check    exit status 1 where it is stale
"""

from __future__ import annotations

import sys
from pathlib import Path

from littoral_node.installing.layout import DATA, PREFIX, USER
from littoral_node.installing.unit import SystemdUnit

PAGE = Path(__file__).with_name("install.md")
BEGIN, END = "<!-- written by docs/write_unit.py -->", "<!-- end -->"


def table() -> str:
    """Of the usual unit: a system's Python, a system user."""
    unit = SystemdUnit(PREFIX / "current/bin/littoral-node", DATA, USER)
    rows = (f"| `{line.key}={line.value}` | {line.reason} |" for line in unit.lines())
    return "\n".join(["| line | why |", "|---|---|", *rows])


def page(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


def main() -> int:
    text = PAGE.read_text()
    if "--check" not in sys.argv:
        PAGE.write_text(page(text))
    elif page(text) != text:
        print("docs/install.md is stale: run 'python docs/write_unit.py'", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
