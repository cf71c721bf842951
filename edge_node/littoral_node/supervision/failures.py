"""What can take back a model on this node, in one table: who counts a failure, up to which limit, what follows.

1. A failure has a phase (how far the model is) and a kind (what goes wrong). FAILURES has a row for each pair that counts.
2. Below the limit of its row, `below` follows; at the limit, `at_limit`. A row without a limit never gives a model up.
3. `at_limit` may need the previous artifact. Where there is none, `without_previous` follows.
4. A restart of the machine is no failure of a model, and a model that has proved itself counts from 0 again.

Example: the active model crashes the agent while it is loaded. The crash record counts 1, then 2: the agent loads the model
again. At 3 the previous artifact becomes the active one; without a previous artifact the model is served from an isolated
process.

Nothing here reads a clock or a file. The update (littoral_node.update.state), the crash record (crashes.py) and what is in
service (littoral_node.update.in_service) count, and ask `outcome`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

CRASHES = 3
"""Crashes of the agent before a model is given up, in an update and in service alike."""
HANGS, HANGS_WITHIN_S = 3, 3_600.0
PROVED_S = 60.0
"""A model has proved itself when it was loaded this long ago and has answered since."""


class Phase(StrEnum):
    FETCHING = "update PENDING or DOWNLOADING"
    VERIFYING = "update VERIFYING"
    PROBATION = "update in PROBATION"
    IN_SERVICE = "in service, in the agent's process"


class Failure(StrEnum):
    STEP_FAILED = "a step fails: signature, digest, disk, memory, budget, runtime, probe; or the isolated process ends"
    TIMED_OUT = "the state lasts longer than its limit"
    AGENT_CRASHED = "the agent ends without a message"
    JUDGED_WORSE = "accuracy falls, more requests fail or are refused than allowed, or the isolated process ends"
    HUNG = "an inference takes too long, and the runtime ends it"
    NOT_SERVABLE = "the artifact is damaged, cannot be loaded, or does not fit beside the other models"


class Consequence(StrEnum):
    RESUME = "the update continues after the restart, a probation from VERIFYING"
    FAILED = "the update is FAILED; what is in service stays"
    ROLLED_BACK = "the update is ROLLED_BACK; the model before it answers again"
    STAYS = "the model stays in service"
    PREVIOUS = "the previous artifact becomes the active one; the update of the other one is ROLLED_BACK"
    SUBSTITUTE = "the previous artifact becomes the active one until the cloud reconciles the node"
    ISOLATED = "the model is served from an isolated process"
    NOT_SERVED = "the model is not served; the node reports the problem"


@dataclass(frozen=True, slots=True)
class FailureRule:
    """`limit` None: no limit. `within_s` None: failures of any age count, until `resets`."""

    counted_by: str
    limit: int | None
    at_limit: Consequence
    below: Consequence = Consequence.RESUME
    without_previous: Consequence | None = None
    within_s: float | None = None
    resets: str = ""


_STEP = "the step that ran"
_AT_ONCE_FAILED = FailureRule(_STEP, 1, Consequence.FAILED)
_AT_ONCE_BACK = FailureRule(_STEP, 1, Consequence.ROLLED_BACK)

FAILURES: Mapping[tuple[Phase, Failure], FailureRule] = {
    (Phase.FETCHING, Failure.STEP_FAILED): _AT_ONCE_FAILED,
    (Phase.FETCHING, Failure.TIMED_OUT): _AT_ONCE_FAILED,
    (Phase.FETCHING, Failure.AGENT_CRASHED): FailureRule("-", None, Consequence.RESUME),
    (Phase.VERIFYING, Failure.STEP_FAILED): _AT_ONCE_FAILED,
    (Phase.VERIFYING, Failure.TIMED_OUT): _AT_ONCE_FAILED,
    (Phase.VERIFYING, Failure.AGENT_CRASHED): FailureRule("update.json", CRASHES, Consequence.FAILED, resets="another update"),
    (Phase.PROBATION, Failure.STEP_FAILED): _AT_ONCE_BACK,
    (Phase.PROBATION, Failure.TIMED_OUT): _AT_ONCE_BACK,
    (Phase.PROBATION, Failure.JUDGED_WORSE): _AT_ONCE_BACK,
    (Phase.PROBATION, Failure.AGENT_CRASHED): FailureRule(
        "update.json", CRASHES, Consequence.ROLLED_BACK, resets="another update"
    ),
    (Phase.IN_SERVICE, Failure.AGENT_CRASHED): FailureRule(
        "crashes.json",
        CRASHES,
        Consequence.PREVIOUS,
        Consequence.STAYS,
        without_previous=Consequence.ISOLATED,
        resets=f"an orderly end, or {PROVED_S:g} s of service with an answer",
    ),
    (Phase.IN_SERVICE, Failure.HUNG): FailureRule(
        "the agent's memory",
        HANGS,
        Consequence.PREVIOUS,
        Consequence.STAYS,
        without_previous=Consequence.STAYS,
        within_s=HANGS_WITHIN_S,
        resets="another artifact, or a restart",
    ),
    (Phase.IN_SERVICE, Failure.NOT_SERVABLE): FailureRule(
        "the start of the agent", 1, Consequence.SUBSTITUTE, without_previous=Consequence.NOT_SERVED
    ),
}
"""A pair that is not here cannot happen: `outcome` raises KeyError for it."""


def outcome(phase: Phase, failure: Failure, count: int = 1, *, previous: bool = True) -> Consequence:
    """What follows from a failure.

    Args:
        count: failures of this row that count, with this one.
        previous: whether there is another artifact that can be served.

    Raises KeyError where a model in this phase cannot fail so.
    """
    rule = FAILURES[phase, failure]
    if rule.limit is None:
        return rule.at_limit
    if count < rule.limit:
        return rule.below
    return rule.at_limit if previous or rule.without_previous is None else rule.without_previous


def gives_up(crashes: int) -> bool:
    """Whether a model in service is given up after this many crashes of the agent in a row."""
    return outcome(Phase.IN_SERVICE, Failure.AGENT_CRASHED, crashes) is not Consequence.STAYS
