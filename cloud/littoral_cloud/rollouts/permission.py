"""What a rollout needs before it may begin: the approval of another person, and its time. Pure.

Rules, in order:

1. A rollout that needs approval waits until somebody other than who started it approves it. After `approval_s`, and not before
   its time, it FAILED.
2. A rollout with a time waits for it. It may be approved before.
3. One that may not begin yet delays no other rollout of its model.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from littoral.errors import BadInput
from littoral_cloud.rollouts.events import RolloutEvent, RolloutExpired, Waits
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy


def not_yet(rollout: Rollout, rollout_id: str, now: float) -> RolloutEvent | None:
    """What a PENDING rollout waits for, or that it waited too long; None: it may begin."""
    policy = rollout.policy
    if policy.approval and not rollout.approved_by:
        until = approve_by(rollout)
        if now >= until:
            return RolloutExpired(f"was not approved within {policy.approval_s / 3_600:g} h")
        who = f"somebody other than {rollout.started_by}" if rollout.started_by else "somebody"
        return Waits((f"{who} to approve it: littoral-cloud rollout approve {rollout_id}",), until)
    if now < policy.not_before:
        return Waits((f"its time, {moment(policy.not_before)}",), policy.not_before)
    return None


def approve_by(rollout: Rollout) -> float:
    """Seconds since 1970-01-01 UTC."""
    return max(rollout.created_at + rollout.policy.approval_s, rollout.policy.not_before)


def begin_by(policy: RolloutPolicy, now: float) -> float:
    """The deadline of a rollout that is started, or approved, now: it has `pending_s` from its time on."""
    waits = policy.approval_s if policy.approval else 0.0
    return max(now + waits, policy.not_before) + policy.pending_s


def approved(rollout: Rollout, rollout_id: str, actor: str, now: float) -> Rollout:
    """Raises BadInput where it needs no approval, has it, or `actor` may not give it."""
    hint = f"littoral-cloud rollout show {rollout_id}"
    if not rollout.policy.approval:
        raise BadInput(f"rollout {rollout_id}: needs no approval", hint=hint)
    if rollout.approved_by:
        raise BadInput(f"rollout {rollout_id}: {rollout.approved_by} has approved it already", hint=hint)
    if actor == rollout.started_by:
        raise BadInput(
            f"rollout {rollout_id}: {actor} has started it, so somebody else must approve it",
            hint=f"another operator runs: littoral-cloud rollout approve {rollout_id}",
        )
    deadline = max(now, rollout.policy.not_before) + rollout.policy.pending_s
    return replace(rollout, approved_by=actor, approved_at=now, deadline=deadline)


def moment(seconds: float) -> str:
    """In words: 2026-01-31 12:00 UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
