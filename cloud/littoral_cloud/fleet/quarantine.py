"""What failed on a node lately, and whether the node is in quarantine for it: no update and no federated round reaches it then.

Rules, in order:

1. A failure counts once: its rollout, or its run and round, names it.
2. After `failures` of them within `within_s` the node is in quarantine, for `lasts_s`.
3. An operator may put a node in quarantine, with an end or without one, and may end each quarantine.
4. What failed before the end of a quarantine does not count any more.

A node in quarantine serves what it has, sends telemetry, and gets back what it had before where a rollout stops.

Example: a node with a worn disk fails the updates of three rollouts on one day. It is left out of the fourth, which goes on
without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

KIND = "trouble"
MOST_FAILURES = 20
"""That are remembered of one node."""
_HOUR_S = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailure:
    """`of`: what failed: a rollout's id, or a run's and its round."""

    of: str
    at: float  # seconds since 1970-01-01 UTC
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    since: float
    until: float | None  # None: until an operator ends it
    by: str  # an operator's name, or the coordinator's part
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTrouble:
    """Of one node, under its id."""

    failures: tuple[NodeFailure, ...] = ()  # oldest first
    counts_since: float = 0.0  # failures before do not count
    quarantine: Quarantine | None = None
    schema: int = 1


@dataclass(frozen=True, slots=True)
class QuarantinePolicy:
    failures: int = 3  # 0: no node comes into quarantine by itself
    within_s: float = 86_400.0
    lasts_s: float = 86_400.0


def with_failure(trouble: NodeTrouble, failure: NodeFailure, policy: QuarantinePolicy, by: str) -> NodeTrouble:
    """With one more failure, and in quarantine where that was one too many; unchanged where it is known."""
    if any(known.of == failure.of for known in trouble.failures):
        return trouble
    trouble = replace(trouble, failures=(*trouble.failures, failure)[-MOST_FAILURES:])
    since = max(trouble.counts_since, failure.at - policy.within_s)
    counted = [each for each in trouble.failures if each.at > since]
    if trouble.quarantine is not None or not policy.failures or len(counted) < policy.failures:
        return trouble
    reason = f"{len(counted)} failures within {policy.within_s / _HOUR_S:g} h"
    return replace(trouble, quarantine=Quarantine(since=failure.at, until=failure.at + policy.lasts_s, by=by, reason=reason))


def ended(trouble: NodeTrouble, now: float) -> NodeTrouble:
    """Out of quarantine; failures up to now do not count any more."""
    return replace(trouble, quarantine=None, counts_since=now)


def is_over(trouble: NodeTrouble, now: float) -> bool:
    """Whether its quarantine has lasted as long as it should."""
    quarantine = trouble.quarantine
    return quarantine is not None and quarantine.until is not None and now >= quarantine.until


def in_quarantine(quarantine: Quarantine) -> str:
    """In an operator's words; the same for all nodes that are in it for one reason."""
    return f"is in quarantine: {quarantine.reason}"
