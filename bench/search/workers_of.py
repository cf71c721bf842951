"""Workers of a search as processes of their own, over one Redis: what the parts that kill and count them have in common."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.factory.tables import data
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.search import SearchRecipe, search_named
from littoral_cloud.search.state import TrialRun
from littoral_cloud.search.study import Study
from littoral_cloud.store.connection import Endpoint
from littoral_cloud.store.embedded import embedded_redis
from littoral_cloud.store.searches import RedisSearch

ROOT = Path("build/bench/search")


@asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[Path]:
    """The socket of a Redis that outlives the workers."""
    async with embedded_redis(folder.resolve()) as socket:
        yield socket


def written(folder: Path, recipe: str, images: int) -> tuple[Path, Path]:
    """A recipe's file, and the first images of MNIST in another."""
    folder.mkdir(parents=True, exist_ok=True)
    some: Dataset = data().first(images, 1_000)
    arrays: Mapping[str, Any] = {
        "x_train": some.train_x, "y_train": some.train_y, "x_test": some.test_x, "y_test": some.test_y
    }  # fmt: skip
    np.savez(folder / "digits.npz", labels=np.array(some.labels), **arrays)
    (folder / "search.toml").write_text(recipe)
    return folder / "search.toml", folder / "digits.npz"


async def worker(recipe: Path, images: Path, data_dir: Path, socket: Path, *options: str) -> asyncio.subprocess.Process:
    """One `littoral-cloud compress`, on one thread."""
    environment = {**os.environ, "LITTORAL_REDIS_URL": f"unix://{socket}", "OMP_NUM_THREADS": "1"}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "littoral_cloud.cli", "compress", str(recipe), "--data", str(images)),
        *("--data-dir", str(data_dir), *options),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


def study_of(recipe: Path, images: Dataset, socket: Path) -> Study:
    """What the workers write, to look at."""
    plan: SearchRecipe = search_named(recipe)
    name = plan.name(images.digest)
    return Study(name, plan, RedisSearch(Endpoint(socket=socket), name))


def done(runs: Sequence[TrialRun]) -> list[TrialRun]:
    return [run for run in runs if run.state == "done"]
