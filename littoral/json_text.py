"""JSON that every reader understands the same way: no key twice in an object, and finite numbers only."""

from __future__ import annotations

import json
import math
from typing import Any

from littoral.errors import BadInput


def parse(data: bytes | str, at: str) -> Any:
    """What JSON says. Raises BadInput where it is not JSON, a key stands twice in one object, or a number is not finite."""
    try:
        return json.loads(data, object_pairs_hook=_once, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{at}: is not JSON: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r:.80} stands twice")
    return made


def _finite(number: str) -> float:
    if math.isfinite(value := float(number)):
        return value
    raise ValueError(f"{number:.40} is no number")
