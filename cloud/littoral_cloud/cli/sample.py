"""littoral-cloud sample: lists the escalations of nodes, with the node's answer and the teacher's."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Annotated, Any

import typer

from littoral.errors import NotFound
from littoral_cloud.app import open_existing
from littoral_cloud.cli.noun import noun
from littoral_cloud.fleet.nodes import find_node, names_of
from littoral_cloud.lineage.find import short
from littoral_cloud.settings import CloudSettings, load_settings
from littoral_cloud.teacher_service.samples import SampleFiles
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit, when

app = noun(
    "Read the samples: escalations of nodes, with the node's answer and the teacher's.",
    "littoral-cloud sample list --model digits",
)

_COLUMNS = ("at", "node", "model", "artifact", "confidence", "node_class", "teacher_class")


@app.command("list", epilog="Example: littoral-cloud sample list --model digits --disagree")
def list_(
    model: Annotated[str | None, typer.Option(help="Only samples of this model.")] = None,
    node: Annotated[str | None, typer.Option(help="Only samples of this node, by name or id.")] = None,
    disagree: Annotated[bool, typer.Option("--disagree", help="Only samples where the teacher's class differs.")] = False,
    last: Annotated[int, typer.Option(min=1, help="At most this many, the newest.")] = 100,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the newest samples, oldest first."""
    asyncio.run(_list(load_settings(data_dir=data_dir), model, node, disagree, last, format))


async def _list(settings: CloudSettings, model: str | None, node: str | None, disagree: bool, last: int, format: Format) -> None:
    async with open_existing(settings) as core:
        names = await names_of(core.ledger)
        node_id = (await find_node(core.ledger, node)).node_id if node is not None else None
    files = SampleFiles(settings.data_dir / "samples")
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
    rows = [{**sample, "node": names.get(sample["node"], sample["node"]), "node_id": sample["node"]} for sample in found]
    if format == Format.JSON:
        emit(rows, format)
        return
    shown = [{**row, "at": when(row["at"]), "artifact": short(row["manifest"])} for row in rows]
    emit([{column: row[column] for column in _COLUMNS} for row in shown], format, columns=_COLUMNS)
