"""Writes docs/reference/, docs/state-machines.md, docs/dashboards/, and the tables of the systemd unit in docs/install.md and of
alerts in docs/operations.md, from the code.

python docs/write_reference.py            writes them
python docs/write_reference.py --check    exit status 1 where a page is stale; `make lint` runs it
"""

from __future__ import annotations

import sys
from pathlib import Path

from pages import alerts, cli, dashboard, errors, metrics, rpcs, settings, state_machines, unit

DOCS = Path(__file__).parent
PAGES = {
    DOCS / "reference" / "cli.md": lambda _: cli.page(),
    DOCS / "reference" / "errors.md": lambda _: errors.page(),
    DOCS / "reference" / "metrics.md": lambda _: metrics.page(),
    DOCS / "reference" / "rpcs.md": lambda _: rpcs.page(),
    DOCS / "reference" / "settings.md": lambda _: settings.page(),
    DOCS / "state-machines.md": lambda _: state_machines.page(),
    DOCS / "dashboards" / "coordinator.json": dashboard.page,
    DOCS / "dashboards" / "alerts.yml": alerts.rules,
    DOCS / "install.md": unit.page,
    DOCS / "operations.md": alerts.page,
}
"""By path, a function from the page's present text to its new text."""


def main() -> int:
    stale = []
    for path, page in PAGES.items():
        present = path.read_text() if path.is_file() else ""
        if (text := page(present)) == present:
            continue
        stale.append(path.relative_to(DOCS.parent))
        if "--check" not in sys.argv:
            path.write_text(text)
    if stale and "--check" in sys.argv:
        print(f"{', '.join(map(str, stale))}: stale: run 'python docs/write_reference.py'", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
