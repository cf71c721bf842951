"""Federated runs: rounds as they end, who took part, what was late, what travelled; and to start, stop and release one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from littoral_cloud.api.rest.access import needs
from littoral_cloud.commands import nodes, runs
from littoral_cloud.commands.runs import RunShown
from littoral_cloud.federation.evaluation import BEFORE
from littoral_cloud.federation.terms import RunTerms
from littoral_cloud.web import charts
from littoral_cloud.web.asking import Ask, FormField, add_action, number
from littoral_cloud.web.render import with_query
from littoral_cloud.web.visitor import Visitor, VisitorDep
from littoral_cloud.web.words import path_part

router = APIRouter(prefix="/runs", include_in_schema=False)

ROWS = 40
DONE = {"stop": "The run was stopped.", "release": "What it learnt is a release now.", "start": "The run has started."}
_USUAL = RunTerms()


@router.get("", **needs(runs.page))
async def every(visitor: VisitorDep, after: Annotated[str, Query(max_length=300)] = "") -> Response:
    found = await runs.page(visitor.office, visitor.caller, after=after, limit=ROWS, newest_first=True)
    return visitor.page(
        "runs.html",
        page=found,
        first="/runs" if after else "",
        next=with_query("/runs", {}, after=found.next) if found.next else "",
    )


async def _ask_start(visitor: Visitor, id: str) -> Ask:
    return Ask(
        title="Start a federated run",
        does=(
            "Nodes learn from their own labelled data, round by round, and the coordinator puts together what they learnt. Their "
            "data stay with them.",
            "Nothing is served by it: the result becomes a release where you ask for one.",
        ),
        button="Start the run",
        back="/runs",
        fields=(
            FormField(name="model", label="Model", needed=True),
            FormField(name="rounds", label="Rounds", kind="number", value=str(_USUAL.rounds), needed=True),
            FormField(name="nodes", label="Only these nodes", help="Names with spaces between. Empty: every node that can."),
            FormField(name="fraction", label="Part of the nodes in each round", kind="number", value=f"{_USUAL.fraction:g}"),
            FormField(name="timeout", label="A round waits, seconds", kind="number", value=f"{_USUAL.round_timeout_s:g}"),
        ),
    )


async def _start(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    terms = RunTerms(
        rounds=int(number(given, "rounds", what="rounds") or _USUAL.rounds),
        fraction=number(given, "fraction", what="fraction") or _USUAL.fraction,
        round_timeout_s=number(given, "timeout", what="timeout") or _USUAL.round_timeout_s,
    )
    model, named = given.get("model", "").strip(), given.get("nodes", "").split()
    made = await runs.start(visitor.office, visitor.caller, model=model, terms=terms, nodes=named)
    return f"/runs/{path_part(made.id)}?did=start"


add_action(router, "/start", runs.start, _ask_start, _start)


@router.get("/{id}", **needs(runs.show))
async def one(visitor: VisitorDep, id: str, did: str = "") -> Response:
    office, caller = visitor.office, visitor.caller
    found = await runs.show(office, caller, run_id=id)
    ids = {*found.participants, *(node for each in found.finished for node in each.failed), *found.sit_out}
    return visitor.page(
        "run.html",
        run=found,
        names=await nodes.names(office, caller, node_ids=tuple(sorted(ids))),
        accuracy=_accuracy(found),
        travel=_travel(found),
        before=BEFORE,
        at=f"/runs/{path_part(id)}",
        done=DONE.get(did, ""),
    )


def _accuracy(run: RunShown) -> str:
    """Empty: no round measured it."""
    values = [100 * each.metrics[BEFORE] if BEFORE in each.metrics else None for each in run.finished]
    if not any(value is not None for value in values):
        return ""
    at = [float(each.number) for each in run.finished]
    return charts.lines("round", "on the nodes' examples, %", at, {"accuracy before the round": values})


def _travel(run: RunShown) -> str:
    if not run.finished:
        return ""
    down, up = [each.bytes_down / 1e6 for each in run.finished], [each.bytes_up / 1e6 for each in run.finished]
    return charts.lines(
        "round", "MB", [float(each.number) for each in run.finished], {"to the nodes": down, "from the nodes": up}
    )


async def _ask_stop(visitor: Visitor, id: str) -> Ask:
    return Ask(
        title=f"Stop run {id[:60]}?",
        does=("Its nodes drop what they train, and nothing of the open round is used. This cannot be undone.",),
        button="Stop the run",
        back=f"/runs/{path_part(id)}",
        danger=True,
    )


async def _stop(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    await runs.stop(visitor.office, visitor.caller, run_id=id)
    return f"/runs/{path_part(id)}?did=stop"


async def _ask_release(visitor: Visitor, id: str) -> Ask:
    return Ask(
        title=f"Make a release of {id[:60]}?",
        does=(
            "What it learnt is exported, measured and signed. This takes a few minutes; the page answers when it is done.",
            "No node gets it before you roll it out.",
        ),
        button="Make the release",
        back=f"/runs/{path_part(id)}",
        fields=(FormField(name="worse", label="Also where the result is worse than its base", kind="check"),),
    )


async def _release(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    made = await runs.release(visitor.office, visitor.caller, run_id=id, worse_too=bool(given.get("worse")))
    return f"/releases/{path_part(made.release.release_id)}"


add_action(router, "/{id}/stop", runs.stop, _ask_stop, _stop)
add_action(router, "/{id}/release", runs.release, _ask_release, _release)
