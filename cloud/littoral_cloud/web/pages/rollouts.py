"""Rollouts: what goes out, how far it is, what its gates say; and to steer and start one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from littoral_cloud.api.rest.access import needs
from littoral_cloud.commands import rollout_views, rollouts
from littoral_cloud.rollouts.state import RolloutState
from littoral_cloud.terminal.text import counted
from littoral_cloud.web.asking import Ask, FormField, add_action
from littoral_cloud.web.render import with_query
from littoral_cloud.web.visitor import Visitor, VisitorDep
from littoral_cloud.web.words import path_part

router = APIRouter(prefix="/rollouts", include_in_schema=False)

ROWS = 40
NODES = 100
DONE = {
    "pause": "The rollout is paused.",
    "resume": "The rollout goes on.",
    "promote": "The next wave starts.",
    "approve": "The rollout is approved.",
    "abort": "The rollout was asked to stop: what it changed goes back.",
    "start": "The rollout has started.",
    "back": "The way back has started.",
}


@router.get("", **needs(rollout_views.page))
async def every(
    visitor: VisitorDep, model: Annotated[str, Query(max_length=100)] = "", after: Annotated[str, Query(max_length=300)] = ""
) -> Response:
    office, caller = visitor.office, visitor.caller
    found = await rollout_views.page(office, caller, after=after, limit=ROWS, model=model.strip(), newest_first=True)
    given = {"model": model}
    return visitor.page(
        "rollouts.html",
        page=found,
        given=given,
        first=with_query("/rollouts", given) if after else "",
        next=with_query("/rollouts", given, after=found.next) if found.next else "",
    )


@router.get("/{id}", **needs(rollout_views.show))
async def one(visitor: VisitorDep, id: str, did: str = "", after: Annotated[str, Query(max_length=300)] = "") -> Response:
    office, caller = visitor.office, visitor.caller
    found = await rollout_views.show(office, caller, rollout_id=id, after=after, limit=NODES)
    explained = None if found.archived else await rollout_views.explain(office, caller, rollout_id=id)
    at = f"/rollouts/{path_part(id)}"
    return visitor.page(
        "rollout.html",
        rollout=found,
        explained=explained,
        at=at,
        done=DONE.get(did, ""),
        next=with_query(at, {}, after=found.next) if found.next else "",
    )


_STANDS = {
    RolloutState.PENDING: "waits to begin",
    RolloutState.MEASURING: "has its students measured",
    RolloutState.WAVE: "runs",
    RolloutState.ROLLING_BACK: "goes back",
    RolloutState.SUCCEEDED: "has succeeded",
    RolloutState.ROLLED_BACK: "went back",
    RolloutState.FAILED: "has failed",
}

Steers = Callable[..., Awaitable[None]]


def _steering(verb: str, case: Steers, title: str, *does: str, button: str, danger: bool = False) -> None:
    """Adds an action on a rollout that goes on: it is refused where somebody changed the rollout since the page asked."""

    async def ask(visitor: Visitor, id: str) -> Ask:
        found = await rollout_views.show(visitor.office, visitor.caller, rollout_id=id, after="", limit=1)
        asked = sum(wave.told for wave in found.waves)
        reach = f"It has asked {counted(asked, 'node') if asked else 'no node'} so far, and {_STANDS[found.state]}."
        return Ask(
            title=title.format(id[:60]),
            does=(*does, reach),
            button=button,
            back=f"/rollouts/{path_part(id)}",
            danger=danger,
            fields=(FormField(name="generation", kind="hidden", value=str(found.generation)),),
        )

    async def do(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
        seen = given.get("generation", "")
        expected: dict[str, Any] = {"expected": int(seen)} if seen.isdecimal() else {}
        await case(visitor.office, visitor.caller, rollout_id=id, **expected)
        return f"/rollouts/{path_part(id)}?did={verb}"

    add_action(router, f"/{{id}}/{verb}", case, ask, do)


_steering(
    "pause",
    rollouts.pause,
    "Pause {}?",
    "No new wave starts and no silence is judged until somebody resumes it. A node that fails still stops it.",
    button="Pause",
)
_steering("resume", rollouts.resume, "Resume {}?", "It goes on where it was; its deadline moves by the pause.", button="Resume")
_steering(
    "promote",
    rollouts.promote,
    "Start the next wave of {} now?",
    "The next wave starts without waiting for the rest of the running one, and both are judged together.",
    button="Start the next wave",
)
_steering(
    "approve",
    rollouts.approve,
    "Approve {}?",
    "It may begin. Your name stands in the audit trail as the one who approved it.",
    button="Approve",
)
_steering(
    "abort",
    rollouts.abort,
    "Abort {}?",
    "No node is asked any more, and every node that it changed goes back to the model that it had.",
    button="Abort and go back",
    danger=True,
)
