"""The fleet as an operator sees it, and what an operator may do to a node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from littoral.errors import BadInput, NotFound, Revoked
from littoral.quota import quotas_of
from littoral.validity import expires_soon
from littoral_cloud.fleet.edit import revise
from littoral_cloud.fleet.handed import KIND as HANDED
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.measurements import node_of
from littoral_cloud.fleet.membership import OUT_FOR_EVER
from littoral_cloud.fleet.presence import There, there
from littoral_cloud.fleet.profile import PRESENCE, PROFILE, presences
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.fleet.quarantine import NodeTrouble
from littoral_cloud.fleet.records import Artifact, Desired, Enrolment, Node, Presence, Reported, UpdateState, load, models_on
from littoral_cloud.fleet.sessions import end_task
from littoral_cloud.fleet.telemetry import KIND as TELEMETRY
from littoral_cloud.fleet.telemetry import TelemetryTotals, telemetry_id
from littoral_cloud.fleet.transfers import UPLOADS
from littoral_cloud.fleet.windows import MODELS, NodeModels

DAY_S = 86_400.0
OF_A_NODE = ("desired", "reported", PRESENCE, PROFILE, MODELS, UPLOADS, TROUBLE, HANDED)
"""Kinds of which there is one document for each node, and none for one that is out of the fleet."""
_AT_ONCE = 200
PAGE_NODES = 500
"""Whose documents are read at one time."""
LIST_HINT = "see `littoral-cloud node list`"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model on one node. Figures are None where nothing was reported yet; times are milliseconds."""

    model: str
    student: str  # the artifact's name; "" where none is served
    manifest_digest: str
    state: UpdateState
    reason: str
    put_off_until: float | None = None  # where the update is DEFERRED: by the node's clock, seconds since 1970-01-01 UTC
    requests: int | None = None
    failed_requests: int | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    rss_bytes: int | None = None  # of the agent's process
    memory_bytes: int | None = None  # what it takes, as it was rehearsed there; its share, None: unbounded
    memory_quota: int | None = None
    disk_bytes: int | None = None  # of its artifacts, retained ones included
    disk_quota: int | None = None
    requests_quota: int | None = None  # of its node's, that may wait or be answered at one time
    offload_asked: int | None = None  # requests that were sent on to the teacher here, and of those the ones that it answered
    offload_answered: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    node: Node
    presence: Presence | None  # None: it never connected
    models: tuple[ServedModel, ...]
    problem: str
    there: There = There.OFFLINE
    twins: tuple[str, ...] = ()  # where agents with its one identity call from; empty: it runs once
    trouble: NodeTrouble = field(default_factory=NodeTrouble)

    @property
    def connected(self) -> bool:
        return self.presence is not None and self.presence.connected

    def certificate_warning(self, now: float) -> str:
        """In words, where the node's certificate has expired or soon will; empty: it is good for longer, or the node is out."""
        left = self.node.certificate_expires_at - now
        soon = expires_soon(max(self.node.renewed_at, self.node.enrolled_at), self.node.certificate_expires_at, now)
        if self.node.enrolment is not Enrolment.ACCEPTED or not soon:
            return ""
        return (
            f"certificate expired {max(0.0, -left) / DAY_S:.0f} days ago"
            if left <= 0
            else f"certificate expires in {left / DAY_S:.0f} days"
        )

    @property
    def state(self) -> str:
        """In one word: what keeps it from the fleet, or whether it is there."""
        if self.node.enrolment is not Enrolment.ACCEPTED:
            return self.node.enrolment.value
        state = "cloned" if self.twins and self.there is not There.OFFLINE else self.there.value
        return f"{state}, quarantined" if self.trouble.quarantine is not None else state


async def view_nodes(ledger: Ledger, now: float) -> list[NodeView]:
    """Every node, by name."""
    views: dict[str, NodeView] = {}
    async for page in ledger.pages("node", PAGE_NODES):
        views |= {view.node.node_id: view for view in await _views_of(ledger, [load(Node, doc) for doc in page], now)}
    return sorted(views.values(), key=lambda view: (view.node.name, view.node.node_id))


async def view_some_nodes(ledger: Ledger, now: float, *, after: str, count: int) -> list[NodeView]:
    """The next nodes behind a name, by name; "": the first ones. What is read does not grow with the fleet."""
    names = await ledger.page("node-name", after=after, count=count)
    found = await ledger.get_many([("node", str(doc.body["node_id"])) for doc in names])
    return await _views_of(ledger, [load(Node, doc) for doc in found if doc is not None], now)


async def view_nodes_of(ledger: Ledger, node_ids: Sequence[str], now: float) -> list[NodeView]:
    """These nodes, in this order; one that is gone is left out."""
    found = await ledger.get_many([("node", node_id) for node_id in node_ids]) if node_ids else ()
    return await _views_of(ledger, [load(Node, doc) for doc in found if doc is not None], now)


async def view_node(ledger: Ledger, node: Node, now: float) -> NodeView:
    [view] = await _views_of(ledger, [node], now)
    return view


async def _views_of(ledger: Ledger, nodes: Sequence[Node], now: float) -> list[NodeView]:
    ids = [node.node_id for node in nodes]
    if not ids:
        return []
    there_are = await presences(ledger, *ids)
    docs = await ledger.get_many([(kind, id) for kind in ("reported", "desired", TROUBLE) for id in ids])
    reports = {doc.id: load(Reported, doc) for doc in docs if doc is not None and doc.kind == "reported"}
    desired = {doc.id: load(Desired, doc) for doc in docs if doc is not None and doc.kind == "desired"}
    troubles = {doc.id: load(NodeTrouble, doc) for doc in docs if doc is not None and doc.kind == TROUBLE}
    served = {(id, model): each.serving for id, report in reports.items() for model, each in report.models.items()}
    artifacts = await ledger.get_many([("artifact", digest) for digest in sorted({*served.values()} - {""})])
    counted = await ledger.get_many([(TELEMETRY, telemetry_id(id, model)) for id, model in served])
    names = {doc.id: load(Artifact, doc).name for doc in artifacts if doc is not None}
    totals = {doc.id: load(TelemetryTotals, doc) for doc in counted if doc is not None}
    return [
        replace(
            _view(node, there_are.get(id), desired.get(id, Desired()), reports.get(id), names, totals, now),
            trouble=troubles.get(id, NodeTrouble()),
        )
        for id, node in zip(ids, nodes, strict=True)
    ]


def _view(
    node: Node,
    presence: Presence | None,
    desired: Desired,
    reported: Reported | None,
    names: Mapping[str, str],
    totals: Mapping[str, TelemetryTotals],
    now: float,
) -> NodeView:
    on_it = models_on(desired, reported)
    quotas = quotas_of(presence.limits, presence.budgets, on_it) if presence is not None else {}
    models = []
    for name, model in sorted(reported.models.items()) if reported else ():
        total, quota = totals.get(telemetry_id(node.node_id, name)), quotas.get(name)
        current = total if total is not None and total.manifest_digest == model.serving else None
        counts = current.serving if current else None
        deferral = model.deferral if model.state is UpdateState.DEFERRED else None
        timed = counts if counts and any(counts.latency_counts) else None
        served = ServedModel(
            model=name,
            student=names.get(model.serving, model.serving[:19]),
            manifest_digest=model.serving,
            state=model.state,
            reason=deferral.reason if deferral else model.reason,
            put_off_until=deferral.until if deferral else None,
            requests=counts.requests if counts else None,
            failed_requests=counts.failed_requests if counts else None,
            p50_ms=timed.latency_ms(0.5) if timed else None,
            p95_ms=timed.latency_ms(0.95) if timed else None,
            rss_bytes=current.rss_bytes if current else None,
            memory_bytes=model.memory_bytes or None,
            memory_quota=quota.memory_bytes if quota else None,
            disk_bytes=model.disk_bytes,
            disk_quota=quota.disk_bytes if quota else None,
            requests_quota=quota.requests if quota else None,
            offload_asked=counts.offload_asked if counts else None,
            offload_answered=counts.offload_answered if counts else None,
        )
        models.append(served)
    return NodeView(
        node=node,
        presence=presence.sharing(on_it) if presence is not None else None,
        models=tuple(models),
        problem=reported.problem if reported else "",
        there=there(presence, now),
        twins=presence.twins if presence is not None and presence.runs_twice(now) else (),
    )


async def names_of(ledger: Ledger, node_ids: Iterable[str]) -> Mapping[str, str]:
    """What operators call each of these nodes, by its id. A node that is gone is not in it."""
    docs = await ledger.get_many([("node", node_id) for node_id in sorted(set(node_ids))])
    return {doc.id: load(Node, doc).name for doc in docs if doc is not None}


async def find_node(ledger: Ledger, name_or_id: str) -> Node:
    """Raises NotFound, or BadInput where several nodes have that name."""
    doc, name = await ledger.get_many([("node", name_or_id), ("node-name", name_or_id)])
    if doc is None and name is not None:
        doc = await ledger.get("node", str(name.body["node_id"]))
    if doc is not None:
        return load(Node, doc)
    named = [node for node in (load(Node, doc) for doc in await ledger.all("node")) if node.name == name_or_id]
    if len(named) > 1:
        ids = ", ".join(node.node_id for node in named)
        raise BadInput(f"node: {len(named)} nodes are called {name_or_id!r}", hint=f"give the id, one of {ids}")
    if not named:
        raise NotFound(f"node: there is no {name_or_id!r}", hint=LIST_HINT)
    return named[0]


async def decommission(ledger: Ledger, name_or_id: str, actor: str) -> Node:
    """Takes a node out of the fleet for good: its session ends at once, its certificate opens nothing any more, and its
    documents are deleted, but for its name, what it sent to a run that has not ended, and the audit trail.

    A node that is out already is returned as it is, and what its last messages left behind is deleted. Raises NotFound.
    """
    found = await find_node(ledger, name_or_id)
    node = await revise(
        ledger,
        Node,
        "node",
        found.node_id,
        lambda node: replace(node, enrolment=Enrolment.DECOMMISSIONED),
        Audit("node.decommissioned", found.node_id, actor, {"name": found.name}),
        missing=NotFound(f"node: there is no {name_or_id!r} any more", hint=LIST_HINT),
    )
    await end_task(ledger, node.node_id, Revoked.code, f"node {node.name} was decommissioned")
    await forget(ledger, node.node_id)
    return node


async def forget_if_out(ledger: Ledger, node_id: str) -> None:
    """As `forget` where the node is out of the fleet: for the words that came while it was taken out."""
    doc = await ledger.get("node", node_id)
    if doc is not None and load(Node, doc).enrolment in OUT_FOR_EVER:
        await forget(ledger, node_id)


async def forget(ledger: Ledger, node_id: str) -> None:
    """Deletes the documents of a node that is out of the fleet: desired and reported state, measurements, uploads. The next
    `artifact gc` deletes the blobs that only these named. May be repeated."""
    from littoral_cloud.fleet import drift  # with numpy, which `node list` does without

    known, desired, reported = await ledger.get_many([(kind, node_id) for kind in (MODELS, "desired", "reported")])
    of = load(NodeModels, known) if known else NodeModels()
    on_it = models_on(load(Desired, desired) if desired else Desired(), load(Reported, reported) if reported else None)
    models = {*of.wanted, *of.others, *on_it}
    documents = [(kind, telemetry_id(node_id, model)) for kind in (TELEMETRY, drift.KIND) for model in sorted(models)]
    async for page in ledger.pages("measurement"):
        documents += [("measurement", doc.id) for doc in page if node_of(doc.id) == node_id]
    documents += [(kind, node_id) for kind in OF_A_NODE]  # at last: may be repeated
    for start in range(0, len(documents), _AT_ONCE):
        await ledger.commit(Change(tuple(Write(kind, id, None, None) for kind, id in documents[start : start + _AT_ONCE])))
