"""What a node reports of an update that it puts off. Its own limit is DesiredModel.defer_s."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedDeferral:
    """That a node puts its update off, or did. `until`: by the node's clock, seconds since 1970-01-01 UTC; 0: it has gone on."""

    reason: str
    until: float = 0.0
