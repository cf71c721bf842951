"""Models: their front of accuracy against bytes and latency, releases, lineage, and each artifact's story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from littoral_cloud.api.rest.access import needs
from littoral_cloud.commands import artifacts, models, releases
from littoral_cloud.commands.models import ModelFront, ModelLineage
from littoral_cloud.lineage.tree import Branch
from littoral_cloud.terminal.text import counted
from littoral_cloud.web import charts
from littoral_cloud.web.asking import Ask, FormField, add_action
from littoral_cloud.web.graph_layout import HIGH, WIDE, drawn
from littoral_cloud.web.visitor import Visitor, VisitorDep
from littoral_cloud.web.words import path_part

router = APIRouter(include_in_schema=False)

MODELS = 200
RELEASES = 50
MOST_BOXES = 60
DONE = {"withdraw": "The release is withdrawn: no node gets it any more."}


@router.get("/releases", **needs(models.page))
async def every(
    visitor: VisitorDep, model: Annotated[str, Query(max_length=100)] = "", on: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    office, caller = visitor.office, visitor.caller
    known = (await models.page(office, caller, after="", limit=MODELS)).items
    chosen = next((each for each in known if each.name == model), known[0] if known else None)
    if chosen is None:
        return visitor.page("releases.html", models=(), chosen=None)
    front = await models.front(office, caller, model=chosen.name, hardware_class=on)
    made = await releases.page(office, caller, after="", limit=RELEASES, model=chosen.name, newest_first=True)
    return visitor.page(
        "releases.html",
        models=known,
        chosen=chosen,
        front=front,
        by_bytes=_by_bytes(front),
        by_latency=_by_latency(front),
        releases=made.items,
    )


def _by_bytes(front: ModelFront) -> str:
    groups = {
        "worth choosing": [(p.bytes / 1000, 100 * p.value) for p in front.points if p.front and p.value is not None],
        "beaten": [(p.bytes / 1000, 100 * p.value) for p in front.points if not p.front and p.value is not None],
    }
    return charts.points("artifact, kB", _metric(front), {name: some for name, some in groups.items() if some}, log=False)


def _by_latency(front: ModelFront) -> str:
    """Empty: nothing was measured."""
    groups: Mapping[str, Sequence[tuple[float, float]]] = {
        "worth choosing": _measured(front, on_front=True),
        "beaten": _measured(front, on_front=False),
    }
    some = {name: group for name, group in groups.items() if group}
    return charts.points("p95 latency, ms", _metric(front), some, log=False) if some else ""


def _measured(front: ModelFront, *, on_front: bool) -> Sequence[tuple[float, float]]:
    """Latency and worth of those that have both."""
    some = (p for p in front.points if p.front is on_front)
    return [(p.p95_ms, 100 * p.value) for p in some if p.p95_ms is not None and p.value is not None]


def _metric(front: ModelFront) -> str:
    return f"{front.points[0].metric}, %" if front.points else "accuracy, %"


@router.get("/lineage/{model}", **needs(models.lineage))
async def lineage(visitor: VisitorDep, model: str) -> Response:
    found = await models.lineage(visitor.office, visitor.caller, model=model)
    return visitor.page("lineage.html", model=model, graph=_drawing(found), lineage=found, wide=WIDE, high=HIGH)


def _drawing(found: ModelLineage) -> Mapping[str, object]:
    """The newest boxes; what has no time of its own (data, teachers) stays with what was made of it."""
    dated = sorted((each for each in found.nodes if each.created_at is not None), key=lambda each: -(each.created_at or 0.0))
    ids = {each.id for each in dated[:MOST_BOXES]}
    ids |= {edge.parent for edge in found.edges if edge.child in ids}
    chosen = [each for each in found.nodes if each.id in ids]
    drawing = drawn([each.id for each in chosen], [(edge.parent, edge.child) for edge in found.edges])
    roles = {(edge.parent, edge.child): edge.role for edge in found.edges}
    return {
        "drawing": drawing,
        "boxes": [(each, drawing.boxes[each.id], _link(each.kind, each.id)) for each in chosen],
        "lines": [(line.path, roles[line.parent, line.child]) for line in drawing.lines],
        "left_out": len(found.nodes) - len(chosen),
    }


def _link(kind: str, id: str) -> str:
    where = {"artifact": "artifacts", "release": "releases", "run": "runs"}.get(kind)
    return f"/{where}/{path_part(id)}" if where else ""


@router.get("/releases/{id}", **needs(releases.show))
async def release(visitor: VisitorDep, id: str, did: str = "") -> Response:
    found = await releases.show(visitor.office, visitor.caller, release=id)
    return visitor.page("release.html", found=found, done=DONE.get(did, ""))


@router.get("/artifacts/{id}", **needs(artifacts.show))
async def artifact(visitor: VisitorDep, id: str) -> Response:
    found = await artifacts.show(visitor.office, visitor.caller, artifact=id)
    return visitor.page("artifact.html", found=found, tree=list(_lines(found.tree)))


def _lines(tree: Branch, depth: int = 0) -> list[tuple[int, str]]:
    """Each line of a tree, and how deep it lies."""
    return [(depth, tree.text), *(line for branch in tree.branches for line in _lines(branch, depth + 1))]


async def _ask_withdraw(visitor: Visitor, id: str) -> Ask:
    found = await releases.show(visitor.office, visitor.caller, release=id)
    nodes = len(found.served_by)
    goes_on = "serves it, and goes on; to take it from it" if nodes == 1 else "serve it, and go on; to take it from them"
    serving = f"{counted(nodes, 'node')} {goes_on}, go back afterwards." if nodes else "No node serves it."
    return Ask(
        title=f"Withdraw {id[:60]}?",
        does=("No node gets it any more, and its rollouts stop: what they changed goes back.", serving),
        button="Withdraw",
        back=f"/releases/{path_part(id)}",
        danger=True,
        fields=(FormField(name="why", label="Why, for people and the audit trail", needed=True),),
    )


async def _withdraw(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    await releases.withdraw(visitor.office, visitor.caller, release=id, why=given.get("why", ""))
    return f"/releases/{path_part(id)}?did=withdraw"


add_action(router, "/releases/{id}/withdraw", releases.withdraw, _ask_withdraw, _withdraw)
