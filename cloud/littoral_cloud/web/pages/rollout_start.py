"""To start a rollout: the form, what it would do, and then the start. What would happen is always shown first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from littoral.errors import BadInput, FleetError
from littoral_cloud.api.rest.access import needs
from littoral_cloud.api.rest.failures import http_status_of
from littoral_cloud.commands import releases, rollout_views, rollouts
from littoral_cloud.commands.rollout_request import RolloutRequest
from littoral_cloud.rollouts.state import Unsure
from littoral_cloud.rollouts.waves import parse_waves
from littoral_cloud.trust.people import Denied
from littoral_cloud.web.asking import Ask, FormField, add_action, fields_of, number
from littoral_cloud.web.page_words import problem_on_page
from littoral_cloud.web.render import see_other
from littoral_cloud.web.visitor import Visitor, VisitorDep
from littoral_cloud.web.words import path_part

router = APIRouter(include_in_schema=False)

_USUAL = RolloutRequest(release="")


def _fields(release: str) -> tuple[FormField, ...]:
    waves = ", ".join(map(str, _USUAL.waves))
    return (
        FormField(name="release", kind="hidden", value=release),
        FormField(name="waves", label="Waves", value=waves, needed=True, help="Numbers or percents of nodes; then all others."),
        FormField(name="where", label="Only nodes that match", help="Like site=harbour,name=cam-*. Empty: every node."),
        FormField(name="canary", label="First node", help="Name or id. Empty: a node with labelled examples."),
        FormField(name="probation_s", label="Probation, seconds", kind="number", help="Empty: as the coordinator is set."),
        FormField(name="window", label="Update window", help="Like Mon-Fri 01:00-05:00, in each node's time. Empty: its own."),
        FormField(name="gates", label="Gates that each wave must pass", help="Like p95=1.2 worst-class. Empty: probation alone."),
        FormField(
            name="unsure",
            label="When a gate has too little evidence in time",
            kind="choice",
            value=_USUAL.unsure.value,
            choices=((Unsure.STOP.value, "stop, and go back"), (Unsure.CONTINUE.value, "continue")),
        ),
        FormField(name="approval", label="Wait for the approval of another person", kind="check"),
        FormField(name="large_first_wave", label="A first wave above a fifth of the nodes is meant so", kind="check"),
    )


def _request(given: Mapping[str, str]) -> RolloutRequest:
    """Raises BadInput."""
    unsure = given.get("unsure", _USUAL.unsure.value)
    if unsure not in set(Unsure):
        raise BadInput(f"unsure: {unsure[:40]!r} is not known", hint=f"one of {', '.join(Unsure)}")
    return RolloutRequest(
        release=given.get("release", ""),
        waves=parse_waves(given.get("waves", "")),
        where=given.get("where", "").strip(),
        canary=given.get("canary", "").strip(),
        probation_s=number(given, "probation_s", what="probation"),
        window=given.get("window", "").strip(),
        gates=tuple(given.get("gates", "").split()),
        unsure=Unsure(unsure),
        approval=bool(given.get("approval")),
        large_first_wave=bool(given.get("large_first_wave")),
    )


def _filled(release: str, given: Mapping[str, str]) -> tuple[FormField, ...]:
    form = Ask(title="", does=(), button="", back="", fields=_fields(release))
    return form.filled(given).fields if given else form.fields


async def _page(visitor: Visitor, given: Mapping[str, str], *, release: str, status: int = 200, **more: object) -> Response:
    gates = rollout_views.known_gates()
    values: dict[str, object] = {"preview": None, "problem": ""} | more
    fields = _filled(release, given)
    again = [replace(each, kind="hidden") for each in fields]
    return visitor.page("rollout_start.html", status, release=release, fields=fields, again=again, gates=gates, **values)


@router.get("/start-rollout", **needs(rollouts.preview))
async def form(visitor: VisitorDep, release: Annotated[str, Query(max_length=200)]) -> Response:
    found = await releases.show(visitor.office, visitor.caller, release=release)
    return await _page(visitor, {}, release=found.release.release_id)


@router.post("/start-rollout/preview", **needs(rollouts.preview))
async def preview(request: Request, visitor: VisitorDep) -> Response:
    given = await fields_of(request)
    release = given.get("release", "")
    try:
        found = await rollouts.preview(visitor.office, visitor.caller, request=_request(given))
    except FleetError as error:
        return await _refused(visitor, given, error)
    return await _page(visitor, given, release=release, preview=found)


@router.post("/start-rollout", **needs(rollouts.start))
async def start(request: Request, visitor: VisitorDep) -> Response:
    given = await fields_of(request)
    try:
        made = await rollouts.start(visitor.office, visitor.caller, request=_request(given))
    except FleetError as error:
        return await _refused(visitor, given, error)
    return see_other(f"/rollouts/{path_part(made.rollout)}", did="start")


async def _refused(visitor: Visitor, given: Mapping[str, str], error: FleetError) -> Response:
    if isinstance(error, Denied):
        raise error
    problem = problem_on_page(error, {each.name: each.label for each in _fields("")})
    return await _page(visitor, given, release=given.get("release", ""), status=http_status_of(error), problem=problem)


async def _ask_back(visitor: Visitor, id: str) -> Ask:
    return Ask(
        title=f"Go back to an earlier release of {id[:60]}?",
        does=("Every node gets the release before, one node first, without another probation. It was served there already.",),
        button="Go back",
        back=f"/releases?model={path_part(id)}",
        danger=True,
        fields=(FormField(name="to", label="To this release", help="Empty: the last one that passed its rollout."),),
    )


async def _back(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    made = await rollouts.back(visitor.office, visitor.caller, model=id, to=given.get("to", "").strip())
    return f"/rollouts/{path_part(made.rollout)}?did=back"


add_action(router, "/models/{id}/back", rollouts.back, _ask_back, _back)
