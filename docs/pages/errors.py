"""docs/reference/errors.md: the code, meaning and exit status of every error class."""

from __future__ import annotations

import importlib
import pkgutil

import littoral
import littoral_cloud
import littoral_node
from littoral.errors import FleetError
from littoral_node.serving.http.errors import HttpError
from pages.markdown import NOTICE, code, table

HEAD = f"""\
# Error codes

{NOTICE}
Each message names the field and the value; its hint names the way out."""
HTTP = "The HTTP server of a node refuses a request that breaks the protocol; metrics count it under these codes:"
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
    http = [
        (code(kind.code), str(kind.status), (kind.__doc__ or "").strip().splitlines()[0])
        for kind in sorted(_http_errors(), key=lambda kind: kind.code)
        if kind.code not in found
    ]
    errors = table(("code", "meaning", "a retry can help", "exit status"), rows)
    return f"{HEAD}\n\n{errors}\n\n{HTTP}\n\n{table(('code', 'status', 'meaning'), http)}\n"


def _http_errors() -> list[type[HttpError]]:
    found, waiting = [], [HttpError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        found.append(kind)
    return found
