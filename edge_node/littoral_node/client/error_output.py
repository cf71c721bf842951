"""How `littoral-node` prints an error."""

from __future__ import annotations

import json
import sys

from littoral.errors import FleetError


def print_error(error: FleetError, form: str, *, program: str = "littoral-node") -> None:
    """To standard error: one line of JSON where `form` is "json"; else the message, with the hint below it."""
    if form == "json":
        sys.stderr.write(json.dumps({"error": error.as_dict()}) + "\n")
    else:
        sys.stderr.write(f"{program}: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
