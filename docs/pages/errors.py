"""docs/reference/errors.md: the code, meaning and exit status of every error class."""

from __future__ import annotations

import importlib
import pkgutil

import littoral_cloud
import littoral_node

import littoral
from littoral.errors import FleetError
from pages.markdown import NOTICE, code, table

HEAD = f"""\
# Error codes

{NOTICE}
Each message names the field and the value; its hint names the way out."""
SKIPPED = (
    "littoral.architectures.",
    "littoral_node.federation.client_app",
    "littoral_node.federation.simulated",
    "littoral_node.federation.worker",
)
"""Modules that need torch, and define no error."""


def page() -> str:
    for package in (littoral, littoral_cloud, littoral_node):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.startswith(SKIPPED) and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found: dict[str, type[FleetError]] = {}
    waiting = [FleetError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.split(".")[0] in ("littoral", "littoral_cloud", "littoral_node"):
            found.setdefault(kind.code, kind)
    rows = [
        (code(name), (kind.__doc__ or "").strip().splitlines()[0], "yes" if kind.retryable else "no", kind.exit_code)
        for name, kind in sorted(found.items())
    ]
    return f"{HEAD}\n\n{table(('code', 'meaning', 'a retry can help', 'exit status'), rows)}\n"
