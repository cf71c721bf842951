"""Use cases of rollouts."""

from __future__ import annotations

from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.rollouts import steering
from littoral_cloud.rollouts.commands import read_rollout
from littoral_cloud.trust.people import Caller, Role


async def _mine(office: Office, caller: Caller, rollout_id: str) -> None:
    _, rollout = await read_rollout(office.core.ledger, rollout_id)
    caller.needs_model(rollout.model)


@use_case("rollout.abort", Role.OPERATOR)
async def abort(office: Office, caller: Caller, *, rollout_id: str, expected: int | None = None) -> None:
    """Asks for a rollout to stop: what it changed goes back."""
    await _mine(office, caller, rollout_id)
    await steering.abort(office.core.ledger, rollout_id, caller.name, expected)


@use_case("rollout.pause", Role.OPERATOR)
async def pause(office: Office, caller: Caller, *, rollout_id: str, expected: int | None = None) -> None:
    """No new wave starts until it is resumed."""
    await _mine(office, caller, rollout_id)
    await steering.pause(office.core.ledger, rollout_id, office.core.clock(), caller.name, expected)


@use_case("rollout.resume", Role.OPERATOR)
async def resume(office: Office, caller: Caller, *, rollout_id: str, expected: int | None = None) -> None:
    """A paused rollout goes on."""
    await _mine(office, caller, rollout_id)
    await steering.resume(office.core.ledger, rollout_id, office.core.clock(), caller.name, expected)


@use_case("rollout.approve", Role.OPERATOR)
async def approve(office: Office, caller: Caller, *, rollout_id: str, expected: int | None = None) -> None:
    """Lets a rollout begin that another person has started."""
    await _mine(office, caller, rollout_id)
    await steering.approve(office.core.ledger, rollout_id, office.core.clock(), caller.name, expected)


@use_case("rollout.promote", Role.OPERATOR)
async def promote(office: Office, caller: Caller, *, rollout_id: str, expected: int | None = None) -> None:
    """The next wave starts now."""
    await _mine(office, caller, rollout_id)
    await steering.promote(office.core.ledger, rollout_id, office.core.clock(), caller.name, expected)
