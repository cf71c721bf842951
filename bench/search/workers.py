"""Two workers on one Redis against one: trials a minute, one thread each.

Both search the same space from nothing. Time runs from when every worker has a trial to the last outcome, so that starting Python
is not in it. What one machine's other load does to them is in it: run it on an idle one.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

from bench.factory.kept import tell
from bench.factory.tables import Part
from bench.report import Figure, Table
from bench.search.workers_of import ROOT, done, redis, study_of, worker, written
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.data.sources import load_dataset

ROUNDS = 3
TRIALS = 16
RECIPE = f"""
model = "digits"

[[student]]
name = "s"
architecture = {{ name = "compact_cnn", widths = [8, 16, 16], head = "map" }}
epochs = 12
schedule = {{ batch = 32 }}
variants = ["ncnn"]

[search]
trials = {TRIALS}
batch = {TRIALS}
rungs = [1.0]
held_out = 0.25

[search.space]
width = {{ low = 0.7, high = 1.4, log = true }}
schedule.learning_rate = {{ low = 1e-3, high = 3e-2, log = true }}
"""


def made() -> Part:
    began = time.perf_counter()
    rates = asyncio.run(_rates(ROOT / "workers"))
    seconds = time.perf_counter() - began
    ratios = tuple(two / one for one, two, _ in rates)
    table = Table(
        "Two workers on one Redis against one, one thread each",
        ("round", "one worker, trials a minute", "two workers, trials a minute", "ratio", "load before"),
        tuple((i, one, two, two / one, load) for i, (one, two, load) in enumerate(rates, 1)),
        (f"{TRIALS} trials of about equal length; from when every worker is at one to the last outcome.",),
    )
    loads = ", ".join(f"{load:.1f}" for *_, load in rates)
    note = f"{TRIALS} trials, one thread each; load of the machine before each round: {loads}"
    return Part(table, {"two_workers_speedup": Figure(ratios, "x", "higher", note)}, seconds)


async def _rates(folder: Path) -> list[tuple[float, float, float]]:
    rates = []
    for number in range(ROUNDS):
        load = os.getloadavg()[0]
        one, two = [await _rate(folder / f"{number}-{count}", count) for count in (1, 2)]
        tell(f"workers: {one:.1f} and {two:.1f} trials a minute, load {load:.1f}")
        rates.append((one, two, round(load, 2)))
    return rates


async def _rate(folder: Path, workers: int) -> float:
    """Trials a minute of so many workers."""
    shutil.rmtree(folder, ignore_errors=True)
    recipe, images = written(folder, RECIPE, 2_000)
    async with redis(folder / "redis") as socket:
        started = [await worker(recipe, images, folder / f"w{i}", socket, "--trials", str(TRIALS)) for i in range(workers)]
        return await _measured(started, recipe, load_dataset(images), socket)


async def _measured(started: list[asyncio.subprocess.Process], recipe: Path, dataset: Dataset, socket: Path) -> float:
    study = study_of(recipe, dataset, socket)
    began, before = 0.0, 0
    while True:
        runs, now = study.runs(), time.perf_counter()
        if not began and sum(run.state == "running" for run in runs) == len(started):
            began, before = now, len(done(runs))
        if len(done(runs)) == TRIALS:
            break
        if any(p.returncode for p in started):
            raise RuntimeError("a worker ended early")
        await asyncio.sleep(0.05)
    for process in started:
        await process.communicate()
    return 60 * (TRIALS - before) / (now - began)
