"""littoral-cloud sample: lists the escalations of nodes, with the node's answer and the teacher's."""

from __future__ import annotations

from collections import deque
from typing import Annotated, Any

import typer

from littoral.errors import NotFound
from littoral_cloud.app import Core
from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.fleet.nodes import find_node, names_of
from littoral_cloud.lineage.find import short
from littoral_cloud.teacher_service.samples import SampleFiles
from littoral_cloud.terminal.output import Format, FormatOption, emit
from littoral_cloud.terminal.text import when

app = noun(
    "Read the samples: escalations of nodes, with the node's answer and the teacher's.",
    "littoral-cloud sample list --model digits",
)

_COLUMNS = ("at", "node", "model", "artifact", "confidence", "node_class", "teacher_class")


@command(app, "list", example="sample list --model digits --disagree")
async def list_(
    core: Core,
    model: Annotated[str | None, typer.Option(help="Only samples of this model.")] = None,
    node: Annotated[str | None, typer.Option(help="Only samples of this node, by name or id.")] = None,
    disagree: Annotated[bool, typer.Option("--disagree", help="Only samples where the teacher's class differs.")] = False,
    last: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most this many, the newest.")] = 100,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the newest samples, oldest first."""
    node_id = (await find_node(core.ledger, node)).node_id if node is not None else None
    files = SampleFiles(core.settings.data_dir / "samples")
    known = files.models()
    if model is not None and model not in known:
        raise NotFound(f"model: there is no sample of {model!r}", hint=f"there are of {', '.join(known) or 'none yet'}")
    found: deque[dict[str, Any]] = deque(maxlen=last)
    for name in known if model is None else [model]:
        for sample in files.read(name):
            if node_id is not None and sample["node"] != node_id:
                continue
            if not disagree or sample["node_class"] != sample["teacher_class"]:
                found.append(sample)
    names = await names_of(core.ledger, (sample["node"] for sample in found))
    rows = [{**sample, "node": names.get(sample["node"], sample["node"]), "node_id": sample["node"]} for sample in found]
    if format == Format.TABLE:
        rows = [{**row, "at": when(row["at"]), "artifact": short(row["manifest"])} for row in rows]
    emit(rows, format, columns=_COLUMNS, empty="no samples")
