"""A full disk is one error with one exit code, wherever in a command it is met; nothing half written is left behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from littoral.architectures import build
from littoral.errors import NoSpace
from littoral_cloud.cli import execute
from littoral_cloud.training.weights import save_weights
from littoral_cloud.trust.store import open_trust
from tests.kit.images import bars

pytest_plugins = ("tests.kit.disk",)

SPEC = {"name": "compact_cnn", "widths": [4, 8]}
FULL = NoSpace.exit_code


@pytest.fixture
def data(tmp_path: Path) -> Path:
    found = bars()
    path = tmp_path / "bars.npz"
    np.savez(path, x=found.train_x, y=found.train_y)
    return path


def fill(folder: Path) -> None:
    """Until not a byte is free."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert execute(words) == FULL
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n  hint: ") == 1
    return said.err


def train(data: Path, folder: Path, *more: str) -> tuple[str, ...]:
    return ("train", "--data", str(data), "--model", "m", "--recipe", "tiny", "--data-dir", str(folder), *more)


def test_in_the_middle_of_a_training(tiny_disk: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No space left on device" in refused(capsys, *train(data, tiny_disk / "cloud", "--every", "1"))
    assert not list(tiny_disk.rglob("*.part"))


def test_before_anything_is_trained(tiny_disk: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny_disk / "cloud").mkdir()
    fill(tiny_disk)
    assert "train: " in refused(capsys, *train(data, tiny_disk / "cloud"))


def test_where_an_export_works(
    tiny_disk: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tiny_disk))
    assert "an export needs" in refused(capsys, *train(data, tmp_path / "cloud"))


def test_where_keys_are_made(tiny_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tiny_disk)
    refused(capsys, "token", "create", "--data-dir", str(tiny_disk))
    assert {path.name for path in tiny_disk.iterdir()} == {"filler", "blobs", "redis"}, "no half a key"


def test_where_the_embedded_redis_starts(tiny_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_trust(tiny_disk, 0.0)
    for folder in ("blobs", "redis"):
        (tiny_disk / folder).mkdir()
    fill(tiny_disk)
    assert "no space" in refused(capsys, "release", "list", "--data-dir", str(tiny_disk)).lower()


def test_weights_that_are_saved(tiny_disk: Path) -> None:
    fill(tiny_disk)
    with pytest.raises(NoSpace, match=r"w\.safetensors cannot be written: No space left"):
        save_weights(tiny_disk / "w.safetensors", build(SPEC, channels=1, height=8, width=8, classes=4), SPEC)
    assert not list(tiny_disk.glob("w.*"))
