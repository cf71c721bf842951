"""What a node may spend while conditions hold: pure functions over budgets.

Each limit of a condition replaces the same limit of the plain budget; where several current conditions have one limit, the
tightest counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from itertools import combinations
from typing import Any

from littoral.budget import Budget

_FROM_BELOW = ("worst_class",)  # a higher value is tighter


def overlaid(plain: Budget, overlays: Iterable[Budget]) -> Budget:
    """`plain`, with what the overlays name in its place. Runtimes: those that every overlay which names some allows, or those of
    the first where none is left."""
    changed: dict[str, Any] = {}
    for overlay in overlays:
        for field in fields(Budget):
            value = getattr(overlay, field.name)
            if value is None or value == ():
                continue
            changed[field.name] = _tighter(field.name, changed[field.name], value) if field.name in changed else value
    return replace(plain, **changed)


def in_force(plain: Mapping[str, Budget], overlays: Mapping[str, Budget], conditions: Iterable[str]) -> dict[str, Budget]:
    """Budgets by model name while these conditions hold. `overlays`: by condition, in a fixed order."""
    holding = set(conditions)
    laid = [budget for name, budget in overlays.items() if name in holding]
    return {model: overlaid(budget, laid) for model, budget in plain.items()}


def widest(plain: Budget, overlays: Sequence[Budget]) -> Budget:
    """What is inside some budget that the node may ever have: the loosest of each limit over all conditions.

    The node refuses what is outside of this; that which is inside was chosen for how it stood a moment ago.
    """
    possible = [plain]
    for count in range(1, len(overlays) + 1):
        possible += [overlaid(plain, some) for some in combinations(overlays, count)]
    loosest: dict[str, Any] = {}
    for field in fields(Budget):
        values = [getattr(budget, field.name) for budget in possible]
        if isinstance(values[0], tuple):
            loosest[field.name] = () if () in values else tuple(dict.fromkeys(name for value in values for name in value))
        elif None in values:
            loosest[field.name] = None
        else:
            loosest[field.name] = min(values) if field.name in _FROM_BELOW else max(values)
    return Budget(**loosest)


def _tighter(name: str, one: Any, other: Any) -> Any:
    if isinstance(one, tuple):
        return tuple(value for value in one if value in other) or one
    return max(one, other) if name in _FROM_BELOW else min(one, other)
