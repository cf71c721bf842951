"""The first page: is the fleet well, what is rolling out, what is learning, what needs somebody."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.responses import Response

from littoral_cloud.api.rest.access import needs
from littoral_cloud.commands import audit, overview
from littoral_cloud.commands.audit import AuditFilter, AuditLine
from littoral_cloud.commands.needs import Need
from littoral_cloud.health.fleet_counts import CLONED
from littoral_cloud.web.pages.audit import words_of
from littoral_cloud.web.visitor import VisitorDep
from littoral_cloud.web.words import path_part, shape_of

router = APIRouter(include_in_schema=False)

LAST_LINES = 10

_PAGES = {
    "node": "/fleet",
    "rollout": "/rollouts",
    "run": "/runs",
    "drift": "/drift",
    "token": "/people",
    "coordinator": "/audit",
}
_OF_ONE = frozenset({"node", "rollout", "run"})
_ORDER = ("good", "busy", "wait", "warn", "off", "bad")


@router.get("/", **needs(overview.show))
async def start(visitor: VisitorDep) -> Response:
    found = await overview.show(visitor.office, visitor.caller)
    online = found.states.get("online", 0)
    well = found.nodes > 0 and not found.states.get(CLONED) and online >= 0.9 * found.nodes
    lines: tuple[AuditLine, ...] = ()
    if visitor.caller.scope.everywhere:
        page = await audit.page(
            visitor.office, visitor.caller, which=AuditFilter(), newest_first=True, after="", limit=LAST_LINES
        )
        lines = page.items
    return visitor.page(
        "start.html",
        last=[(line, words_of(line)) for line in lines],
        found=found,
        online=online,
        well=well,
        bars=bars(found.states),
        needs=[(need, _link(need)) for need in found.needs],
    )


def bars(states: Mapping[str, int]) -> list[tuple[str, str, int, float, float]]:
    """One bar in parts, for an SVG of width 100: state, shape, count, where the part begins, how wide it is."""
    whole, at, parts = sum(states.values()), 0.0, []
    for state in sorted(states, key=lambda each: (_ORDER.index(shape_of(each)), each)):
        wide = 100 * states[state] / whole
        parts.append((state, shape_of(state), states[state], round(at, 2), round(wide, 2)))
        at += wide
    return parts


def _link(need: Need) -> str:
    if need.id and need.of in _OF_ONE:
        return f"{_PAGES[need.of]}/{path_part(need.id)}"
    query = urlencode({"state": need.state}) if need.state else ""
    return f"{_PAGES[need.of]}?{query}" if query else _PAGES[need.of]
