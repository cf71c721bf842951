"""A search that is killed with -9 five times, in the middle of a training each time, against the same search left alone.

What is held against each other is the set of runs that are done: number, rung and values of each, and the digest of the weights
that came of it. The worker is killed; Redis is not (tests kill that one).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.factory.kept import tell
from bench.factory.tables import Part
from bench.report import Figure, Table
from bench.search.workers_of import ROOT, done, redis, study_of, worker, written
from littoral_cloud.data.sources import load_dataset
from littoral_cloud.search.state import TrialRun

KILLS = 5
RECIPE = """
model = "digits"

[[student]]
name = "s"
architecture = { name = "compact_cnn", widths = [8, 16, 16], head = "map" }
epochs = 8
schedule = { batch = 32 }
variants = ["ncnn"]

[search]
trials = 12
batch = 4
rungs = [0.5, 1.0]
held_out = 0.25

[search.space]
width = { low = 0.5, high = 2.0, log = true }
schedule.learning_rate = { low = 1e-3, high = 3e-2, log = true }
"""


def made() -> Part:
    folder = ROOT / "kills"
    shutil.rmtree(folder, ignore_errors=True)
    began = time.perf_counter()
    alone, killed, at = asyncio.run(_both(folder))
    seconds = time.perf_counter() - began
    wanted, found = _set(alone), _set(killed)
    repeated = sum(times - 1 for times in Counter((r.number, r.rung) for r in done(killed)).values())
    lost, other = len(wanted - found), len(found - wanted)
    weights = {(r.number, r.rung): r.outcome.weights for r in done(alone) if r.outcome}
    same = sum(r.outcome is not None and weights.get((r.number, r.rung)) == r.outcome.weights for r in done(killed))
    table = Table(
        "A search killed with -9 five times, against one left alone",
        ("search", "kills", "runs done", "run twice", "lost", "not in the other", "same weights"),
        (
            ("left alone", 0, len(done(alone)), 0, 0, 0, len(done(alone))),
            ("killed", len(at), len(done(killed)), repeated, lost, other, same),
        ),
        (f"Killed while training, with {', '.join(map(str, at))} runs done.", "A run is one trial on one rung."),
    )
    note = f"finished runs run twice, lost or other than in a search left alone, of {len(wanted)}; {len(at)} times kill -9"
    return Part(table, {"trials_repeated_after_kills": Figure.of(repeated + lost + other, "runs", "lower", note)}, seconds)


async def _both(folder: Path) -> tuple[list[TrialRun], list[TrialRun], list[int]]:
    recipe, images = written(folder, RECIPE, 2_000)
    dataset = load_dataset(images)
    async with redis(folder / "alone" / "redis") as socket:
        process = await worker(recipe, images, folder / "alone", socket)
        await _ended(process)
        alone = study_of(recipe, dataset, socket).runs()
    at: list[int] = []
    async with redis(folder / "killed" / "redis") as socket:
        study = study_of(recipe, dataset, socket)
        for _ in range(KILLS):
            before = len(done(study.runs()))
            process = await worker(recipe, images, folder / "killed", socket, "--every", "20")
            await _until_training(process, study, folder / "killed", before + 1 + len(at) % 2)
            process.send_signal(signal.SIGKILL)
            await process.communicate()
            at.append(len(done(study.runs())))
            tell(f"kills: killed with {at[-1]} runs done")
        process = await worker(recipe, images, folder / "killed", socket)
        await _ended(process)
        killed = study.runs()
    return alone, killed, at


async def _until_training(process: asyncio.subprocess.Process, study: Any, folder: Path, count: int) -> None:
    """Waits until so many runs are done and the next one has written a checkpoint."""
    seen: dict[Path, int] = {}
    while process.returncode is None:
        runs = study.runs()
        places = {p: p.stat().st_mtime_ns for p in folder.glob("search/*/training/*.safetensors")}
        if len(done(runs)) >= count and any(r.state == "running" for r in runs) and seen and places != seen:
            return
        seen = places if len(done(runs)) >= count else {}
        await asyncio.sleep(0.02)
    raise RuntimeError((await process.communicate())[1].decode())


async def _ended(process: asyncio.subprocess.Process) -> None:
    _, err = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(err.decode())


def _set(runs: Sequence[TrialRun]) -> set[tuple[int, int, str]]:
    return {(r.number, r.rung, json.dumps(dict(r.params), sort_keys=True)) for r in done(runs)}
