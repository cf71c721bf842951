"""The table of the systemd unit in docs/install.md: the lines of the default unit, each with its reason."""

from __future__ import annotations

from littoral_node.identity.folder import DATA
from littoral_node.installing.layout import PREFIX, USER
from littoral_node.installing.unit import SystemdUnit
from pages.markdown import code, table

BEGIN, END = "<!-- written by docs/write_reference.py -->", "<!-- end -->"


def page(text: str) -> str:
    """The page with a new table between BEGIN and END."""
    unit = SystemdUnit(PREFIX / "current/bin/littoral-node", DATA, USER)
    lines = table(("line", "why"), ((code(f"{line.key}={line.value}"), line.reason) for line in unit.lines()))
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{lines}\n\n{END}{rest.partition(END)[2]}"
