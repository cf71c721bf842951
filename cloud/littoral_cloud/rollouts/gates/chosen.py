"""Gates as an operator names them: NAME or NAME=LIMIT."""

from __future__ import annotations

import math
from collections.abc import Sequence

from littoral.errors import BadInput
from littoral_cloud.rollouts.gates import Gate, gate_named


def parse_gates(texts: Sequence[str], at: str = "--gate") -> dict[str, float]:
    """Limits by name, in the order given. Raises BadInput, naming the gate and what is wrong with it."""
    found: dict[str, float] = {}
    for text in texts:
        name, given, limit = text.partition("=")
        gate = gate_named(name.strip())
        if gate.name in found:
            raise BadInput(f"{at}: {gate.name} is named twice", hint="name each gate once")
        found[gate.name] = checked_limit(gate, limit.strip(), at) if given else gate.limit
    return found


def checked_limit(gate: Gate, text: str, at: str) -> float:
    """Raises BadInput where it is no number that the gate takes."""
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not gate.least <= limit <= gate.most:  # nan is refused, too
        raise BadInput(
            f"{at}: {gate.name}: {text[:40]!r} is no number from {gate.least:g} to {gate.most:g}",
            hint=f"for example {gate.name}={gate.limit:g}: {gate.asks.format(limit=f'{gate.limit:g}')}",
        )
    return limit
