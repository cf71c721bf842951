"""Use cases that start and steer rollouts."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial

from littoral.manifest import Manifest
from littoral_cloud.commands.rollout_request import RolloutRequest, policy_of
from littoral_cloud.commands.scopes import narrowed, needs_all_of
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.commands.viewing import apart, would_see
from littoral_cloud.releases.catalogue import read_release
from littoral_cloud.rollouts import preview as previews
from littoral_cloud.rollouts import steering
from littoral_cloud.rollouts.back import BACK, go_back
from littoral_cloud.rollouts.commands import check_start, read_rollout, start_rollout
from littoral_cloud.rollouts.eligibility import share_that_could_take
from littoral_cloud.rollouts.events import Waits
from littoral_cloud.rollouts.permission import not_yet
from littoral_cloud.rollouts.preview import LeftOut, PreviewedWave, Share, new_rollout
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import RolloutState
from littoral_cloud.trust.people import Caller, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedRollout:
    """`waits_for`: what it waits for before it may begin; empty: nothing."""

    rollout: str
    state: RolloutState
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedRollout:
    """What a start would do now; littoral_cloud.rollouts.preview says more of each field.

    Attributes:
        approval: another person would have to approve it first.
        bytes, least_bytes: that would travel at most, and at least.
    """

    release: str
    written: bool = False
    approval: bool
    waves: tuple[PreviewedWave, ...]
    shares: tuple[Share, ...]
    left_out: tuple[LeftOut, ...]
    already: int
    unmeasured: tuple[str, ...]
    to_measure: tuple[str, ...]
    waits_for: tuple[str, ...]
    closed: tuple[str, ...]
    opens: float
    bytes: int
    least_bytes: int


@use_case("rollout.start", Role.OPERATOR)
async def start(office: Office, caller: Caller, *, request: RolloutRequest, number: int = 0) -> StartedRollout:
    """Asks for a rollout; the coordinator carries it out, and restores the old models where a node fails.

    Args:
        number: for a caller that must not start one twice: the number that it must get. 0: the next.
    """
    core = office.core
    release = await read_release(core.ledger, request.release)
    caller.needs_model(release.model)
    rollout_id = await start_rollout(
        core.ledger,
        release,
        core.clock(),
        await policy_of(core, caller, request),
        number=number,
        large_first_wave=request.large_first_wave,
        approval_above=core.settings.approval_above,
        actor=caller.name,
        look=partial(would_see, office),
    )
    return await _started(office, rollout_id)


@use_case("rollout.preview", Role.VIEWER)
async def preview(office: Office, caller: Caller, *, request: RolloutRequest) -> PreviewedRollout:
    """What a start with this request would do now: who gets what, in which wave, and who is left out. Writes nothing."""
    core = office.core
    release = await read_release(core.ledger, request.release)
    caller.needs_model(release.model)
    policy = await policy_of(core, caller, request)
    await check_start(core.ledger, release, policy)
    seen = await would_see(office, new_rollout(release, policy, core.clock()))
    keys = core.trust.signing_keys()
    digests = [candidate.manifest_digest for candidate in seen.candidates]
    travels = {digest: Manifest.open(core.blobs.read(digest), keys).transfer_bytes for digest in digests}
    above = core.settings.approval_above
    found = await apart(lambda seen, now: previews.preview(seen, now, travels), seen, core.clock())
    return PreviewedRollout(
        release=release.release_id,
        approval=policy.approval or (above < 1 and await apart(_share, seen, core.clock()) > above),
        **{each.name: getattr(found, each.name) for each in fields(found)},
        bytes=found.bytes,
        least_bytes=found.least_bytes,
    )


@use_case("rollout.back", Role.OPERATOR)
async def back(office: Office, caller: Caller, *, model: str, to: str) -> StartedRollout:
    """Gives every node the release before, one node first, without another probation."""
    core = office.core
    caller.needs_model(model)
    where = narrowed(caller, "") if caller.scope.labels else ""
    rollout_id = await go_back(core.ledger, model, core.clock(), to=to, policy=replace(BACK, where=where), actor=caller.name)
    return await _started(office, rollout_id)


def _share(seen: RolloutView, now: float) -> float:
    return share_that_could_take(seen)


async def _started(office: Office, rollout_id: str) -> StartedRollout:
    _, rollout = await read_rollout(office.core.ledger, rollout_id)
    waits = not_yet(rollout, rollout_id, office.core.clock())
    return StartedRollout(rollout=rollout_id, state=rollout.state, waits_for=waits.waits_for if isinstance(waits, Waits) else ())


async def _mine(office: Office, caller: Caller, rollout_id: str) -> None:
    _, rollout = await read_rollout(office.core.ledger, rollout_id)
    caller.needs_model(rollout.model)
    await needs_all_of(office.core.ledger, caller, rollout.policy, f"rollout {rollout_id}")


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
