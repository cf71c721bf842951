"""What can be wrong with a node's reply, by stable code; docs/runs.md says what each means."""

from __future__ import annotations

from dataclasses import dataclass

BAD_REPLY, BAD_ARRAYS, NOT_FINITE = "bad-reply", "bad-arrays", "not-finite"
BAD_METRICS, BAD_EXAMPLES, TOO_FAR = "bad-metrics", "bad-examples", "too-far"
BAD = frozenset({BAD_REPLY, BAD_ARRAYS, NOT_FINITE, BAD_METRICS, BAD_EXAMPLES, TOO_FAR})
"""Codes of replies that cannot be used. A node whose replies get one twice in a row sits the run out."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a reply cannot be used. `code` is one of BAD."""

    code: str
    detail: str
