"""What an operator may tell a rollout: approve, abort, pause, resume, promote. Each is one audited change of its document; the
controller carries it out. With `expected`, the generation that the caller has read, each raises Changed where it is another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from littoral.errors import BadInput
from littoral_cloud.fleet.edit import revise
from littoral_cloud.fleet.ledger import Audit, Ledger
from littoral_cloud.rollouts.answers import NodeAnswer
from littoral_cloud.rollouts.assignments import AssignmentState
from littoral_cloud.rollouts.commands import no_rollout
from littoral_cloud.rollouts.gating import undecided, verdicts_of
from littoral_cloud.rollouts.permission import approved
from littoral_cloud.rollouts.plan import next_nodes
from littoral_cloud.rollouts.seen import RolloutView, read_one
from littoral_cloud.rollouts.state import ENDED, KIND, Rollout, RolloutState
from littoral_cloud.rollouts.wave_judge import failed_nodes


async def abort(ledger: Ledger, rollout_id: str, actor: str, expected: int | None = None) -> None:
    """Asks for a rollout to stop: what it touched goes back. Raises NotFound; BadInput where it has ended."""
    await _change(ledger, rollout_id, "rollout.abort-asked", actor, lambda rollout: replace(rollout, aborted_by=actor), expected)


async def pause(ledger: Ledger, rollout_id: str, now: float, actor: str, expected: int | None = None) -> None:
    """No new wave starts and no silence is judged until it is resumed; a node that fails still stops it.

    Raises NotFound; BadInput where it has ended, or is paused.
    """

    def paused(rollout: Rollout) -> Rollout:
        if rollout.paused_by:
            raise BadInput(f"rollout {rollout_id}: {rollout.paused_by} has paused it already", hint=_resume(rollout_id))
        return replace(rollout, paused_by=actor, paused_at=now)

    await _change(ledger, rollout_id, "rollout.paused", actor, paused, expected)


async def resume(ledger: Ledger, rollout_id: str, now: float, actor: str, expected: int | None = None) -> None:
    """It goes on; its deadline moves by the time that it was paused. Raises NotFound; BadInput where it is not paused."""

    def resumed(rollout: Rollout) -> Rollout:
        if not rollout.paused_by:
            raise BadInput(f"rollout {rollout_id}: is not paused", hint=_show(rollout_id))
        deadline = rollout.deadline + max(0.0, now - rollout.paused_at)
        paused_s = rollout.paused_s + max(0.0, now - rollout.paused_at)
        return replace(rollout, paused_by="", paused_at=0.0, paused_s=paused_s, deadline=deadline)

    await _change(ledger, rollout_id, "rollout.resumed", actor, resumed, expected)


async def approve(ledger: Ledger, rollout_id: str, now: float, actor: str, expected: int | None = None) -> None:
    """It may begin, as far as it waited for this. Raises NotFound; BadInput where it has ended, needs no approval, has it, or
    `actor` has started it."""

    def passed(rollout: Rollout) -> Rollout:
        return approved(rollout, rollout_id, actor, now)

    await _change(ledger, rollout_id, "rollout.approved", actor, passed, expected)


async def promote(ledger: Ledger, rollout_id: str, now: float, actor: str, expected: int | None = None) -> None:
    """The next wave starts now: who of the running one has not answered is waited for together with it.

    Raises NotFound; BadInput where no wave runs, a node failed, none has passed yet, or no wave would follow.
    """
    if (seen := await read_one(ledger, rollout_id)) is None:
        raise no_rollout(rollout_id)
    _refuse_ended(seen.rollout, rollout_id)
    if (why := why_not_promoted(seen, now)) is not None:
        raise BadInput(f"rollout {rollout_id}: {why}", hint=_show(rollout_id))
    running = seen.rollout.running_wave
    assert running is not None

    def promoted(rollout: Rollout) -> Rollout:
        if rollout.running_wave is None or rollout.running_wave.number != running.number:
            raise BadInput(f"rollout {rollout_id}: that wave does not run any more", hint=_show(rollout_id))
        return replace(rollout, waves=(*rollout.waves[:-1], replace(rollout.waves[-1], promoted_by=actor)))

    await _change(ledger, rollout_id, "rollout.promote-asked", actor, promoted, expected)


def why_not_promoted(seen: RolloutView, now: float) -> str | None:
    """In an operator's words; None: the next wave may start now. Pure."""
    rollout = seen.rollout
    if rollout.state is not RolloutState.WAVE or (wave := rollout.running_wave) is None:
        return f"is {rollout.state}: no wave runs that could be promoted"
    if rollout.paused_by:
        return f"{rollout.paused_by} has paused it: resume it first"
    if rollout.aborted_by:
        return f"{rollout.aborted_by} has aborted it"
    if bad := failed_nodes(seen, now):
        return f"a node failed: {seen.nodes[bad[0].node_id].name}: {bad[0].why}"
    book = seen.assignments
    mine = {node_id: book.held[node_id][1] for node_id in book.of_wave(wave.number)}
    if not any(a.state is AssignmentState.COMMITTED or book.answer_of(id) is NodeAnswer.PASSED for id, a in mine.items()):
        return f"none of {len(mine)} nodes of the running wave has passed its probation yet"
    if undecided(rollout.policy, verdicts_of(seen)):
        return None
    if not any(book.answer_of(node_id) is NodeAnswer.AWAITED for node_id in mine):
        return "every node of the running wave has answered already"
    if not next_nodes(book.turns(), seen, now, 1).assignments:
        return "no wave follows the running one"
    return None


async def _change(
    ledger: Ledger, rollout_id: str, action: str, actor: str, changed: Callable[[Rollout], Rollout], expected: int | None
) -> None:
    def change(rollout: Rollout) -> Rollout:
        _refuse_ended(rollout, rollout_id)
        return changed(rollout)

    line = Audit(action, rollout_id, actor)
    await revise(ledger, Rollout, KIND, rollout_id, change, line, missing=no_rollout(rollout_id), expected=expected)


def _refuse_ended(rollout: Rollout, rollout_id: str) -> None:
    if rollout.state in ENDED or rollout.state is RolloutState.ROLLING_BACK:
        raise BadInput(f"rollout {rollout_id}: is {rollout.state} already", hint=_show(rollout_id))


def _show(rollout_id: str) -> str:
    return f"littoral-cloud rollout show {rollout_id}"


def _resume(rollout_id: str) -> str:
    return f"littoral-cloud rollout resume {rollout_id}"
