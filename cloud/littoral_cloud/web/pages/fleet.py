"""The fleet as a table, page by page, and what one may do to a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from littoral.errors import BadInput, NotFound
from littoral_cloud.api.rest.access import needs
from littoral_cloud.commands import admissions, audit, candidates, drift, nodes
from littoral_cloud.commands.audit import AuditFilter, AuditLine
from littoral_cloud.commands.candidates import ModelOnNode
from littoral_cloud.commands.nodes import NodeFilter, NodeOrder
from littoral_cloud.web.asking import Ask, Asks, FormField, add_action, labels_of, number
from littoral_cloud.web.pages.audit import words_of
from littoral_cloud.web.render import with_query
from littoral_cloud.web.visitor import Visitor, VisitorDep
from littoral_cloud.web.words import path_part

router = APIRouter(prefix="/fleet", include_in_schema=False)

PAGE_NODES = 50
HISTORY = 15
STATES = ("online", "away", "offline", "cloned", "quarantined", "pending", "rejected", "revoked", "decommissioned")
DONE = {
    "quarantine": "The node is in quarantine.",
    "end-quarantine": "Updates and rounds reach the node again.",
    "accept": "The node is let in.",
    "reject": "The node was rejected.",
    "revoke": "The node is out; its session has ended.",
    "decommission": "The node is out of the fleet for good.",
}


@router.get("", **needs(nodes.page))
async def fleet(
    visitor: VisitorDep,
    after: Annotated[str, Query(max_length=300)] = "",
    text: Annotated[str, Query(max_length=100)] = "",
    label: Annotated[str, Query(max_length=200)] = "",
    state: Annotated[str, Query(max_length=40)] = "",
    model: Annotated[str, Query(max_length=100)] = "",
    sort: NodeOrder = NodeOrder.NAME,
) -> Response:
    which, problem = NodeFilter(), ""
    try:
        which = NodeFilter(labels=labels_of(label), state=state, model=model.strip(), text=text.strip())
    except BadInput as error:
        problem = f"{error.message}: {error.hint}"
    found = await nodes.page(visitor.office, visitor.caller, which=which, after=after, limit=PAGE_NODES, order=sort)
    given = {"text": text, "label": label, "state": state, "model": model, "sort": sort.value}
    return visitor.page(
        "fleet.html",
        page=found,
        given=given,
        states=(("", "Every state"), *((each, each) for each in STATES)),
        sorts={each.value: with_query("/fleet", given, sort=each.value) for each in NodeOrder},
        problem=problem,
        filtered=any((text, label, state, model)),
        first=with_query("/fleet", given) if after else "",
        next=with_query("/fleet", given, after=found.next) if found.next else "",
    )


@router.get("/{node}", **needs(nodes.show))
async def one(visitor: VisitorDep, node: str, did: str = "") -> Response:
    office, caller = visitor.office, visitor.caller
    found = await nodes.show(office, caller, node=node)
    history: tuple[AuditLine, ...] = ()
    if caller.scope.everywhere:
        which = AuditFilter(subject=found.id)
        history = (await audit.page(office, caller, which=which, newest_first=True, after="", limit=HISTORY)).items
    return visitor.page(
        "node.html",
        node=found,
        done=DONE.get(did, ""),
        explained=await _explained(visitor, found.id),
        inputs=await drift.of_node(office, caller, node=found.id),
        history=[(line, words_of(line)) for line in history],
    )


async def _explained(visitor: Visitor, id: str) -> Mapping[str, ModelOnNode]:
    """Empty where nothing is known: it never connected, or no model is there."""
    try:
        return await candidates.explain(visitor.office, visitor.caller, node=id, model="")
    except NotFound:
        return {}


def _asks(title: str, *does: str, button: str, fields: tuple[FormField, ...] = (), danger: bool = False) -> Asks:
    async def ask(visitor: Visitor, id: str) -> Ask:
        name = (await nodes.show(visitor.office, visitor.caller, node=id)).name
        back = f"/fleet/{path_part(id)}"
        return Ask(title=title.format(name), does=does, button=button, back=back, fields=fields, danger=danger)

    return ask


def _then(verb: str, id: str) -> str:
    return f"/fleet/{path_part(id)}?did={verb}"


async def _quarantine(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    hours = number(given, "hours", what="hours")
    lasts_s = None if hours is None else hours * 3_600
    await nodes.quarantine(visitor.office, visitor.caller, node=id, reason=given.get("reason", "by hand"), lasts_s=lasts_s)
    return _then("quarantine", id)


async def _end_quarantine(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    await nodes.end_quarantine(visitor.office, visitor.caller, node=id)
    return _then("end-quarantine", id)


async def _accept(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    await admissions.accept(visitor.office, visitor.caller, node=id)
    return _then("accept", id)


async def _reject(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    await admissions.reject(visitor.office, visitor.caller, node=id)
    return _then("reject", id)


async def _revoke(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    await admissions.revoke(visitor.office, visitor.caller, node=id, reason=given.get("reason", ""))
    return _then("revoke", id)


async def _decommission(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    await nodes.decommission(visitor.office, visitor.caller, node=id)
    return _then("decommission", id)


WHY = FormField(name="reason", label="Why, for other operators", value="by hand", needed=True)
HOURS = FormField(name="hours", label="For how many hours", kind="number", help="Empty: until somebody ends it.")

add_action(
    router,
    "/{id}/quarantine",
    nodes.quarantine,
    _asks(
        "Put {} in quarantine?",
        "From now on no update and no federated round reaches it. It serves what it has, and reports as before.",
        "What it was asked for already goes on.",
        button="Put in quarantine",
        fields=(WHY, HOURS),
    ),
    _quarantine,
)
add_action(
    router,
    "/{id}/end-quarantine",
    nodes.end_quarantine,
    _asks(
        "End the quarantine of {}?",
        "Updates and federated rounds reach it again. What failed on it before does not count any more.",
        button="End quarantine",
    ),
    _end_quarantine,
)
add_action(
    router,
    "/{id}/accept",
    admissions.accept,
    _asks(
        "Let {} in?",
        "It gets models and takes part in federated rounds. If it was revoked, its certificate counts again.",
        "It comes when it asks next: within an hour, sooner if it was revoked lately. A restart of its agent asks at once.",
        button="Let in",
    ),
    _accept,
)
add_action(
    router,
    "/{id}/reject",
    admissions.reject,
    _asks(
        "Reject {}?",
        "It is never let in. Its machine has to enrol again, with a new identity.",
        button="Reject",
        danger=True,
    ),
    _reject,
)
add_action(
    router,
    "/{id}/revoke",
    admissions.revoke,
    _asks(
        "Revoke {}?",
        "Its session, its downloads and its federated work end within seconds, and its certificate opens nothing.",
        "It serves its model on, without the fleet. Accepting it again lets it back in when it asks next:",
        "after a minute at first, after an hour at most. A restart of its agent asks at once.",
        button="Revoke",
        fields=(WHY,),
        danger=True,
    ),
    _revoke,
)
add_action(
    router,
    "/{id}/decommission",
    nodes.decommission,
    _asks(
        "Take {} out for good?",
        "Its session ends now and its certificate opens nothing any more.",
        "What is known of it is deleted, but for the audit trail.",
        "This cannot be undone: the machine would have to enrol again.",
        button="Take out for good",
        danger=True,
    ),
    _decommission,
)
