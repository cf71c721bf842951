"""Use cases of events: what changes in the fleet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet.ledger import news_within
from littoral_cloud.fleet.records import Node, load
from littoral_cloud.trust.people import Caller, Role, Scope

KINDS = ("node", "presence", "reported", "trouble", "inputs", "release", "rollout", "run", "audit")

_OF_NODES = frozenset({"node", "presence", "reported", "trouble", "inputs"})
"""Their ids are a node's, or NODE:MODEL."""
_OF_MODELS = frozenset({"release", "rollout", "run"})


@dataclass(frozen=True, slots=True)
class ChangeSeen:
    """`id` "": more changed of this kind than is remembered."""

    kind: str
    id: str
    generation: int


@use_case("event.follow", Role.VIEWER)
async def follow(
    office: Office, caller: Caller, *, kinds: tuple[str, ...], quiet_s: float, since: int | None = None
) -> AsyncIterator[ChangeSeen | None]:
    """What changes from now on in the caller's scope. None: nothing has changed for `quiet_s`.

    Args:
        since: a position of the ledger. Where something has changed since, of any kind, the first change has no kind and no id.
    """

    async def changes() -> AsyncIterator[ChangeSeen | None]:
        async with office.core.ledger.watch(*kinds) as news:
            if since is not None and await office.core.ledger.position() != since:
                yield ChangeSeen("", "", 0)
            while True:
                if not await news_within(news, quiet_s):
                    yield None
                for each in sorted(news.drain(), key=lambda each: (each.kind, each.id)):
                    if caller.scope.everywhere or await _may_see(office, caller.scope, each.kind, each.id):
                        yield ChangeSeen(each.kind, each.id, each.generation)

    return changes()


async def _may_see(office: Office, scope: Scope, kind: str, id: str) -> bool:
    """Whether a scope has what changed. The audit trail is for callers without a scope."""
    if not id:
        return kind in _OF_NODES | _OF_MODELS
    if kind in _OF_NODES:
        node_id, _, model = id.partition(":")
        held = office.view.of("node").get(node_id) if office.view is not None else None
        doc = None if held is not None else await office.core.ledger.get("node", node_id)
        node: Node | None = held.record if held is not None else load(Node, doc) if doc is not None else None
        return node is not None and scope.has_node(node.labels) and (not model or scope.has_model(model))
    if kind in _OF_MODELS:
        doc = await office.core.ledger.get(kind, id)
        return doc is not None and scope.has_model(str(doc.body.get("model", "")))
    return False
