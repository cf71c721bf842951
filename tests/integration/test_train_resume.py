"""littoral-cloud train, killed and stopped in the middle: the same command goes on and makes the very same artifacts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from littoral.manifest import Manifest
from littoral_cloud.app import open_core
from littoral_cloud.cli import INTERRUPTED, execute
from littoral_cloud.cli.stopping import TERMINATED
from littoral_cloud.data.sources import load_dataset
from littoral_cloud.factory.production import make_students
from littoral_cloud.recipes.recipe_file import recipe_named
from littoral_cloud.releases.catalogue import all_releases
from littoral_cloud.settings import load_settings
from tests.kit.images import bars

# Whoever starts the tests in the background has them ignore Ctrl-C, and a child inherits that.
TTY = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
RECIPE = """
model = "bars"

[teacher]
architecture = { name = "compact_cnn", widths = [4, 8] }
epochs = 1
schedule = { batch = 16, learning_rate = 1e-2 }

[[student]]
name = "s"
architecture = { name = "compact_cnn", widths = [4, 8] }
epochs = 60
schedule = { batch = 16, learning_rate = 1e-2, augment = { copies = 3, shift = 1.0 } }
variants = ["ncnn"]

[[student.method]]
kind = "magnitude"
epochs = 30
sparsity = 0.5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = bars()
    arrays = {"x_train": data.train_x, "y_train": data.train_y, "x_test": data.test_x, "y_test": data.test_y}
    np.savez(tmp_path / "bars.npz", labels=np.array(data.labels), **arrays)
    (tmp_path / "mine.toml").write_text(RECIPE)
    return tmp_path


def command(folder: Path) -> list[str]:
    files = ["--data", str(folder / "bars.npz"), "--recipe", str(folder / "mine.toml"), "--data-dir", str(folder / "cloud")]
    return ["train", *files, "--every", "10", "--format", "json"]


async def begun(folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"{TTY}; from littoral_cloud.cli import main; main()", *command(folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def step_of(training: Path, name: str) -> int:
    """The last one in a checkpoint; 0 where there is none."""
    places = list(training.glob(f"{name}-[0-9a-f]*.safetensors"))
    if not places:
        return 0
    with safe_open(places[0], framework="np") as file:
        return int(file.metadata()["step"])


async def until_past(training: Path, name: str, step: int, process: asyncio.subprocess.Process) -> None:
    while step_of(training, name) <= step:
        assert process.returncode is None, (await process.communicate())[1].decode()
        await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_killed_and_stopped_it_goes_on_and_makes_the_same_artifacts(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = folder / "cloud" / "training"

    killed = await begun(folder)
    await until_past(training, "s", 0, killed)
    killed.kill()
    await killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    kept = step_of(training, "s")

    stopped = await begun(folder)
    await until_past(training, "s", kept, stopped)
    stopped.terminate()
    _, err = await stopped.communicate()
    assert stopped.returncode == TERMINATED, err.decode()
    assert f"s: goes on after step {kept}\n" in err.decode()
    kept = step_of(training, "s")
    assert f"s: stopped after step {kept}; the same command continues from there\n" in err.decode()

    # From here on in this process: to import torch once more takes longer than what is left to do.
    code = await asyncio.to_thread(execute, command(folder))
    told = capsys.readouterr().err
    assert code == 0, told
    assert f"teacher: goes on after step 12\ns: goes on after step {kept}\n" in told
    assert list(training.iterdir()) == []  # what is released is not kept twice
    assert kept < 720

    recipe = recipe_named(str(folder / "mine.toml"))
    whole = await asyncio.to_thread(make_students, load_dataset(folder / "bars.npz"), recipe)
    [made], [wanted] = await released(folder), [packaged.manifest for packaged in whole.packaged]
    assert made.parents == wanted.parents  # the weights first: a manifest is long to read
    assert made.files == wanted.files
    assert made.encode() == wanted.encode()


def test_ctrl_c_leaves_a_checkpoint_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The same student without a teacher, and an epoch more often than anybody would wait for.
    text = "model" + RECIPE.partition("model")[2].partition("[teacher]")[0] + "[[student]]" + RECIPE.partition("[[student]]")[2]
    (folder / "mine.toml").write_text(text.replace("epochs = 60", "epochs = 100_000"))
    before = signal.getsignal(signal.SIGINT)
    training = folder / "cloud" / "training"
    told = threading.Event()

    def interrupts() -> None:
        while step_of(training, "s") == 0 and not told.wait(0.01):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    user = threading.Thread(target=interrupts)
    user.start()
    try:
        files = ("--data", str(folder / "bars.npz"), "--recipe", str(folder / "mine.toml"))
        code = execute(["train", *files, "--data-dir", str(folder / "cloud"), "--every", "10"])
    finally:
        told.set()
        user.join()
    assert code == INTERRUPTED
    assert f"s: stopped after step {step_of(training, 's')}; the same command continues from there" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


async def released(folder: Path) -> list[Manifest]:
    async with open_core(load_settings(data_dir=folder / "cloud")) as core:
        [release] = await all_releases(core.ledger)
        keys = core.trust.signing_keys()
        return [Manifest.open(core.blobs.read(digest), keys) for digest in release.artifacts]
