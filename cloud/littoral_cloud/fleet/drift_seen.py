"""What the view of the fleet has of a model's inputs on a node: how they stand, without the tables that they are judged by.

Scores are those of the last time that drift began or ended there, or that the coordinator started: a report that changes neither
is announced to none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

KIND = "inputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSeen:
    """The fields of littoral_cloud.fleet.drift.Inputs that have these names."""

    baseline_examples: int
    baseline_full: bool
    updated_at: float
    score: float | None = None
    windows: int = 0
    drifted: bool = False
    since: float | None = None
    acknowledged_at: float | None = None

    @classmethod
    def from_older(cls, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Leaves the rest out."""
        return {each.name: body[each.name] for each in fields(cls) if each.name in body}

    @property
    def state(self) -> str:
        if self.drifted:
            return "drifted" if self.acknowledged_at is None else "acknowledged"
        return "steady" if self.baseline_full else "learning"
