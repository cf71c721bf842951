"""docs/state-machines.md: the moves and limits of each state machine."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from littoral_cloud.rollouts import assignments
from littoral_cloud.rollouts import state as rollout
from littoral_node.supervision.failures import FAILURES, FailureRule
from littoral_node.update import state as update
from pages.markdown import NOTICE, table

HEAD = f"""\
# State machines

{NOTICE}
Each is a table and a pure step. A pair of state and event that is not in its table is refused on purpose; a test checks
every pair."""

ROLLOUT = """\
## A rollout

`littoral_cloud/rollouts/state.py`. `littoral_cloud.rollouts.judge.observe` makes the event from the ledger,
`littoral_cloud.rollouts.decide.apply` decides, and the controller commits the rollout, the nodes' assignments and their desired
states, a batch of nodes in one Change. The owner of every state is the controller with the lease `rollouts`."""

ASSIGNMENT = """\
## What one node gets in a rollout

`littoral_cloud/rollouts/assignments.py`. The rollout's controller makes the event from the node's documents, and writes the
assignments a batch at a time. A plan writes PLANNED and REFUSED. DROPPED, RESTORED and REFUSED are ends."""

UPDATE = """\
## The update of one model on one node

`littoral_node/update/state.py`. `step` decides, `littoral_node/update/updater.py` performs; each outcome is in the journal before
the next step begins. An event of another generation, or after the end, changes nothing."""

TAKEN_BACK = """\
## What takes back a model on a node

`littoral_node/supervision/failures.py`: who counts a failure, up to which limit, and what follows. The update's table above takes
its bad ends from here. A restart of the machine counts against no model.

Without a count: a step that cannot reach the cloud runs again after a pause, and so does an isolated process in service.
An inference that its runtime cannot end ends the agent; its next start counts a crash of the model."""


def moves(of: Mapping[Any, StrEnum]) -> str:
    return table(("state", "event", "becomes"), ((state, event.__name__, to) for (state, event), to in of.items()))


def rollout_limits() -> str:
    rows = []
    for state, limit in rollout.LIMITS.items():
        more = ", and the probation" if state is rollout.RolloutState.WAVE else ""
        rows.append((state, f"{getattr(rollout.RolloutPolicy(), limit):g} s ({limit}){more}", rollout.ON_EXPIRY[state]))
    return table(("state", "may last", "then"), rows)


def assignment_moves() -> str:
    return table(("state", "event", "becomes"), ((state, event, to) for (state, event), to in assignments.MOVES.items()))


def assignment_deadlines() -> str:
    rows = ((state, assignments.OWNER, until, then) for state, (until, then) in assignments.DEADLINES.items())
    return table(("state", "owner", "until", "then"), rows)


def update_limits() -> str:
    S = update.ModelUpdateState
    more = {S.PROBATION: ", and the probation", S.DEFERRED: " beyond what the rollout allows (defer_s), when it goes on"}
    rows = [(state, f"{limit:g} s{more.get(state, '')}") for state, limit in update.LIMIT_S.items()]
    return table(("state", "may last"), rows)


def failures() -> str:
    rows = ((str(phase), str(failure), rule.counted_by, _limit(rule), _then(rule)) for (phase, failure), rule in FAILURES.items())
    return table(("the model", "what fails", "counted by", "limit", "then"), rows)


def _limit(rule: FailureRule) -> str:
    if rule.limit is None:
        return "none"
    within = f" within {rule.within_s:g} s" if rule.within_s is not None else ""
    return f"{rule.limit}{within}" + (f"; again from 0 after {rule.resets}" if rule.resets else "")


def _then(rule: FailureRule) -> str:
    below = f"below: {rule.below}. At the limit: " if rule.limit not in (None, 1) else ""
    without = f". Without a previous artifact: {rule.without_previous}" if rule.without_previous is not None else ""
    return f"{below}{rule.at_limit}{without}"


def page() -> str:
    rollouts = [ROLLOUT, moves(rollout.MOVES), rollout_limits(), ASSIGNMENT, assignment_moves(), assignment_deadlines()]
    updates = [UPDATE, moves(update.MOVES), update_limits(), TAKEN_BACK, failures()]
    return "\n\n".join([HEAD, *rollouts, *updates]) + "\n"
