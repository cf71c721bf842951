"""A search in a real Redis that is killed in the middle, and a worker that is killed in the middle of a training."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from littoral.errors import FleetError, NoFit, Unavailable
from littoral_cloud.cli import execute
from littoral_cloud.cli.stopping import TERMINATED
from littoral_cloud.data.sources import load_dataset
from littoral_cloud.search import SearchControl, SearchResult, compress, search_named
from littoral_cloud.search.control import OnChange
from littoral_cloud.search.state import TrialRun, valid
from littoral_cloud.search.study import Study
from littoral_cloud.store.connection import Endpoint
from littoral_cloud.store.embedded import embedded_redis
from littoral_cloud.store.searches import RedisSearch
from tests.kit.images import bars
from tests.kit.redis_server import MortalRedis
from tests.kit.search import tiny

pytest_plugins = ("tests.kit.redis",)

RECIPE = """
model = "bars"

[teacher]
architecture = { name = "compact_cnn", widths = [4, 8] }
epochs = 1
schedule = { batch = 16, learning_rate = 1e-2 }

[[student]]
name = "s"
architecture = { name = "compact_cnn", widths = [4, 8] }
epochs = 40
schedule = { batch = 16, learning_rate = 1e-2 }
variants = ["ncnn"]

[search]
trials = 2
batch = 2
rungs = [0.5, 1.0]
held_out = 0.25

[search.space]
width = { low = 0.5, high = 2.0 }
temperature = { low = 1.0, high = 8.0 }
"""


async def test_a_redis_that_goes_away_ends_the_search_clearly_and_it_goes_on_when_it_is_back(
    mortal_redis: MortalRedis, tmp_path: Path
) -> None:
    recipe = tiny(trials=2, rungs=[1.0])
    name = recipe.name(bars().digest)
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()

    def seen(runs: Sequence[TrialRun]) -> None:
        if any(run.state == "done" for run in runs) and not gone.is_set():
            asyncio.run_coroutine_threadsafe(mortal_redis.kill(), loop).result()
            loop.call_soon_threadsafe(gone.set)

    def search(watch: OnChange) -> SearchResult:
        store = RedisSearch(mortal_redis.endpoint, name, patience_s=0.5)
        return compress(None, bars(), recipe=recipe, store=store, folder=tmp_path, control=SearchControl(watch=watch))

    with pytest.raises(Unavailable, match=r"redis: .* cannot be had since 0\.5 s") as refused:
        await asyncio.to_thread(search, seen)
    assert "the same command" in refused.value.hint
    await mortal_redis.start()
    found = await asyncio.to_thread(search, lambda _: None)
    done = Counter(run.number for run in found.runs if run.state == "done")
    assert done == {0: 1, 1: 1}


async def test_a_redis_that_lost_what_it_answered_is_noticed(mortal_redis: MortalRedis) -> None:
    store = RedisSearch(mortal_redis.endpoint, "s", patience_s=5.0)
    await asyncio.to_thread(store.append, ["1", "2"])
    await mortal_redis.kill()
    for file in mortal_redis.folder.rglob("*"):
        if file.is_file():
            file.unlink()
    await mortal_redis.start()
    with pytest.raises(FleetError, match="has 0 lines of this search, and had 2 before: it has lost writes"):
        await asyncio.to_thread(store.read, 2)


@pytest.mark.slow
@pytest.mark.timeout(400)  # three processes that import torch
async def test_killed_and_stopped_the_same_command_goes_on_and_trains_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, RECIPE)
    training = tmp_path / "cloud" / "search"

    killed = await begun(tmp_path)
    await until_trained(killed, training, 1)
    killed.kill()
    await killed.communicate()
    assert killed.returncode == -signal.SIGKILL

    stopped = await begun(tmp_path)
    await until_trained(stopped, training, 2)
    stopped.terminate()
    _, err = await stopped.communicate()
    assert stopped.returncode == TERMINATED, err.decode()
    assert err.decode().index("stopping at the next step") < err.decode().index("the same command continues from there")

    # From here on in this process: importing torch once more takes longer than what is left to do.
    files = ["compress", str(tmp_path / "mine.toml"), "--data", str(tmp_path / "bars.npz"), "--data-dir", str(tmp_path / "cloud")]
    code = await asyncio.to_thread(execute, [*files, "--budget", "artifact<=10B", "--release", "--format", "json"])
    said = capsys.readouterr()
    assert code == NoFit.exit_code, said.err
    assert "nearest is trial" in said.err
    assert "is over 10" in said.err
    assert "release" not in json.loads(said.out)

    code = await asyncio.to_thread(execute, [*files, "--budget", "artifact<=1MB", "--release", "--format", "json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    body = json.loads(said.out)
    assert body["ended"] == "trials"
    assert body["front"]
    assert all(row["fits"] for row in body["front"])
    assert set(body["students"]) == {f"s-{row['trial']}-ncnn" for row in body["front"]}
    page = Path(body["report"], "report.html").read_text()
    assert "<svg" in page
    assert "<script" not in page
    assert "src=" not in page

    recipe, dataset = search_named(tmp_path / "mine.toml"), load_dataset(tmp_path / "bars.npz")
    name = recipe.name(dataset.digest)
    async with embedded_redis(tmp_path / "cloud" / "redis") as socket:
        store = RedisSearch(Endpoint(socket=socket), name)
        assert all(isinstance(json.loads(line), dict) for line in store.read(0))
        runs = await asyncio.to_thread(Study(name, recipe, store).runs)
    alone = await asyncio.to_thread(lambda: compress(None, dataset, recipe=recipe))
    assert weights(runs) == weights(alone.runs)
    assert set(Counter((r.number, r.rung) for r in runs if r.state == "done").values()) == {1}


@pytest.mark.slow
@pytest.mark.timeout(400)  # two processes that import torch
async def test_two_workers_share_one_search_and_train_nothing_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, RECIPE.replace("trials = 2\nbatch = 2", "trials = 4\nbatch = 4").replace("epochs = 40", "epochs = 8"))
    files = ["compress", str(tmp_path / "mine.toml"), "--data", str(tmp_path / "bars.npz"), "--data-dir", str(tmp_path / "cloud")]
    code = await asyncio.to_thread(execute, [*files, "--workers", "2", "--format", "json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    recipe, dataset = search_named(tmp_path / "mine.toml"), load_dataset(tmp_path / "bars.npz")
    name = recipe.name(dataset.digest)
    async with embedded_redis(tmp_path / "cloud" / "redis") as socket:
        runs = await asyncio.to_thread(Study(name, recipe, RedisSearch(Endpoint(socket=socket), name)).runs)
    assert Counter(run.rung for run in runs if run.state == "done") == {0: 4, 1: 2}
    assert set(Counter((run.number, run.rung) for run in runs if run.state == "done").values()) == {1}


def write(folder: Path, recipe: str) -> None:
    """The recipe and its data."""
    data = bars()
    arrays = {"x_train": data.train_x, "y_train": data.train_y, "x_test": data.test_x, "y_test": data.test_y}
    np.savez(folder / "bars.npz", labels=np.array(data.labels), **arrays)
    (folder / "mine.toml").write_text(recipe)


def weights(runs: object) -> dict[tuple[int, int], str]:
    return {key: run.outcome.weights for key, run in valid(runs).items() if run.outcome}  # type: ignore[arg-type]


async def begun(folder: Path, *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "littoral_cloud.cli", "compress", str(folder / "mine.toml")),
        *("--data", str(folder / "bars.npz"), "--data-dir", str(folder / "cloud"), "--every", "10", "--format", "json", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def until_trained(process: asyncio.subprocess.Process, folder: Path, count: int) -> None:
    """Waits until so many trainings of students have left a checkpoint."""
    while len(list(folder.glob("*/training/s-*.safetensors"))) < count:
        assert process.returncode is None, (await process.communicate())[1].decode()
        await asyncio.sleep(0.01)
