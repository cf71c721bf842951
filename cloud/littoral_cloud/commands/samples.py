"""Use case of samples: the escalations of nodes, with the node's answer and the teacher's."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from littoral.errors import NotFound
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet.nodes import find_node
from littoral_cloud.fleet.records import Node, load
from littoral_cloud.teacher_service.samples import SampleFiles
from littoral_cloud.trust.people import Caller, Role

FOLDER = "samples"


@use_case("sample.list", Role.VIEWER)
async def newest(
    office: Office, caller: Caller, *, model: str, node: str, disagree: bool, last: int
) -> Sequence[Mapping[str, Any]]:
    """The newest samples, oldest first, as they were recorded, with the node's name and id.

    Args:
        model, node: of this one alone; "": of every one. A node by its name or id.
        disagree: only those where the teacher's class differs.
        last: at most this many.
    """
    ledger = office.core.ledger
    node_id = ""
    if node:
        found = await find_node(ledger, node)
        caller.needs_node(found.name, found.labels)
        node_id = found.node_id
    files = SampleFiles(office.core.settings.data_dir / FOLDER)
    known = [each for each in files.models() if caller.scope.has_model(each)]
    if model:
        caller.needs_model(model)
        if model not in known:
            raise NotFound(f"model: there is no sample of {model!r}", hint=f"there are of {', '.join(known) or 'none yet'}")
    nodes = {doc.id: load(Node, doc) for doc in await ledger.all("node")} if caller.scope.labels else {}
    mine = {id for id, each in nodes.items() if caller.scope.has_node(each.labels)} if caller.scope.labels else None
    some = await asyncio.to_thread(_read, files, [model] if model else known, node_id, mine, disagree, last)
    ids = sorted({sample["node"] for sample in some})
    docs = await ledger.get_many([("node", id) for id in ids])
    names = {doc.id: load(Node, doc).name for doc in docs if doc is not None}
    return [{**sample, "node": names.get(sample["node"], sample["node"]), "node_id": sample["node"]} for sample in some]


def _read(
    files: SampleFiles, models: Sequence[str], node_id: str, mine: Collection[str] | None, disagree: bool, last: int
) -> Sequence[Mapping[str, Any]]:
    """`mine`: only of these nodes; None: of every one."""
    found: deque[Mapping[str, Any]] = deque(maxlen=last)
    for model in models:
        for sample in files.read(model):
            if (node_id and sample["node"] != node_id) or (mine is not None and sample["node"] not in mine):
                continue
            if not disagree or sample["node_class"] != sample["teacher_class"]:
                found.append(sample)
    return found
