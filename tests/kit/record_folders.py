"""Records a node's folder and a coordinator's as today's programs leave them: python -m tests.kit.record_folders FOLDER.

1. A coordinator's folder gets one tiny artifact, its release, and a teacher that can answer.
2. `littoral-cloud up` enrols a node, measures the artifact on it and rolls it out. The node answers, and asks the teacher.
3. The node runs alone, answers, and ends: what it counted stays in its spool.
4. FOLDER/node and FOLDER/cloud get copies. What Redis has is written as JSON lines: documents.jsonl and audit.jsonl.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from littoral.architectures import build
from littoral.preparation import Input
from littoral.process.command import Command
from littoral_cloud.app import open_core, open_existing
from littoral_cloud.fleet.ledger import trail, until
from littoral_cloud.releases.catalogue import create_release
from littoral_cloud.releases.teacher_records import keep
from littoral_cloud.releases.teacher_store import described
from littoral_cloud.settings import load_settings
from littoral_cloud.teachers.teacher import NetworkTeacher
from littoral_cloud.training.train import Trained
from tests.kit.models import CLASSES, SHAPE, images
from tests.kit.patience import PATIENCE_S
from tests.kit.shop import TEACHERS, put
from tests.kit.whole import CLOUD, NODE, ask

MODEL = "tiny"
SPEC = {"name": "perceptron", "widths": [4]}
CLOUD_PARTS = ("ca", "signing", "blobs", "samples", "audit-head.json", "up.json")
NODE_PARTS = (
    *("node.json", "key.pem", "cert.pem", "ca.pem", "identity.json", "node.toml", "serving.json", "state.json", "crashes.json"),
    *("artifacts", "models", "samples.jsonl", "telemetry.spool"),
)


async def stock(data: Path, scratch: Path) -> None:
    torch.manual_seed(1)
    channels, height, width = SHAPE
    module = build(SPEC, channels=channels, height=height, width=width, classes=CLASSES)
    teacher = NetworkTeacher.of(Trained.of("t1", module, SPEC, Input("input", SHAPE, 1 / 255, (0.1,), (0.5,)), 0.0))
    async with open_core(load_settings(data_dir=data)) as core:
        kept = described(teacher, SHAPE, CLASSES, core.blobs.put)
        assert kept is not None
        await keep(core.ledger, TEACHERS[0], kept)
        made = await put(core, scratch, "first", 1)
        await create_release(core.ledger, MODEL, [made], "manual", "the first", core.clock(), actor="ada")


async def infer(url: str, count: int) -> None:
    for x in images(count):
        body = {"inputs": [{"name": "x", "shape": [1, *SHAPE], "datatype": "UINT8", "data": x.ravel().tolist()}]}
        answer = await ask(f"{url}/v2/models/{MODEL}/infer", body)
        assert answer.status_code == 200, answer.text


async def has_lines(path: Path) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not (path.exists() and path.read_text()):  # noqa: ASYNC110 - of another process: no event says so
            await asyncio.sleep(0.2)


async def counted(data: Path) -> None:
    """Until the coordinator has a report of the node."""
    async with open_existing(load_settings(data_dir=data)) as core:

        async def look() -> bool | None:
            return bool(await core.ledger.all("telemetry")) or None

        await until(core.ledger, ("telemetry",), look, seconds=PATIENCE_S, what="telemetry")


async def live(root: Path) -> None:
    """The node's life, beside its coordinator and alone."""
    cloud, node = root / "cloud", root / "node"
    node.mkdir()
    (node / "node.toml").write_text(f'offload_deadline = "20s"\n\n[offload]\n{MODEL} = 1.0\n')
    environment = {"LITTORAL_ANSWER_ESCALATIONS": "true", "LITTORAL_TELEMETRY_INTERVAL_S": "1"}
    there = ["--data-dir", str(cloud), "--node", str(node), "--http", "127.0.0.1:0", "--format", "json"]
    up = await Command.start("up", [CLOUD, "up", *there], root / "up.log", environment)
    ready = json.loads(await up.ready_line())
    while not (node / "samples.jsonl").exists():
        await infer(ready["url"], 1)  # its first question starts the teacher
    await has_lines(cloud / "samples" / f"{MODEL}.jsonl")
    await counted(cloud)
    await up.end()
    alone = await Command.start("node", [NODE, "run", "--data", str(node), *there[-4:]], root / "node.log")
    await infer(f"http://{json.loads(await alone.ready_line())['http']}", 3)
    await alone.end()


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))


async def write_ledger(data: Path, to: Path) -> None:
    async with open_existing(load_settings(data_dir=data)) as core:
        docs = [doc for kind in await core.ledger.kinds() for doc in await core.ledger.all(kind)]
        audit = [entry async for entry in trail(core.ledger)]
    write_lines(to / "documents.jsonl", map(asdict, docs))
    write_lines(to / "audit.jsonl", map(asdict, audit))


def copy(parts: Iterable[str], source: Path, to: Path) -> None:
    to.mkdir(parents=True)
    for name in parts:
        if (source / name).is_dir():
            shutil.copytree(source / name, to / name, ignore=shutil.ignore_patterns("*.lock"))
        else:
            shutil.copyfile(source / name, to / name)


async def record(to: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="littoral-record-") as scratch:
        root = Path(scratch)
        await stock(root / "cloud", root / "made")
        await live(root)
        copy(NODE_PARTS, root / "node", to / "node")
        copy(CLOUD_PARTS, root / "cloud", to / "cloud")
        await write_ledger(root / "cloud", to / "cloud")


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1])))
