"""The examples of docs/data.md and docs/import.md are run as they stand."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from littoral.architectures import REGISTRY, takes
from littoral_cloud.cli import execute
from littoral_cloud.data.image_folder import read_rule
from littoral_cloud.data.sources import load_dataset
from tests.kit.foreign import peaks, write

DOCS = Path(__file__).parents[3] / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LITTORAL_DATA_DIR", str(tmp_path / "cloud"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_every_layout_of_the_page_is_read_and_has_a_recipe(here: Path) -> None:
    [program] = blocks("data.md", "python")
    exec(program, {})
    kinds = {name: load_dataset(here / f"{name}.npz").kind for name in ("table", "series", "images")}
    assert kinds == {"table": "table", "series": "series", "images": "images"}
    assert load_dataset(here / "table.npz").labels == ("idle", "hot", "loose")
    commands = blocks("data.md", "sh")[0].splitlines()
    assert len(commands) == 3
    for command in commands:
        assert execute(shlex.split(command)[1:]) == 0


def test_the_rule_of_the_page_is_one_and_says_the_defaults(here: Path) -> None:
    [rule] = blocks("data.md", "toml")
    (here / "data.toml").write_text(rule)
    said = read_rule(here)
    assert said.size == (28, 28)
    assert said.channels == "grey"
    (here / "data.toml").write_text("resize = [28, 28]")
    assert read_rule(here).how == said.how


def test_the_page_names_every_network_that_takes_a_table_or_series() -> None:
    page = (DOCS / "data.md").read_text()
    for kind in ("table", "series"):
        [row] = re.findall(rf"^\| {kind} \|.*$", page, re.MULTILINE)
        assert set(re.findall(r"`([a-z0-9_]+)`", row.split("|")[-2])) == {name for name in REGISTRY if kind in takes(name)}


@pytest.mark.slow
def test_the_import_of_the_page_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, metric = blocks("import.md", "python")
    exec(program, {})
    for command in blocks("import.md", "sh")[0].splitlines():
        assert execute(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert '"name": "mae"' in told
    assert "regression, mae 0." in told

    import numpy as np

    (here / "mine.py").write_text(metric)
    np.savez(here / "peaks.npz", x=np.eye(10, dtype=np.float32), y=np.ones(10))
    write(here / "peaks.onnx", peaks())
    words = "artifact import peaks.onnx --model peaks --task detection --metric mine:peaks_found --data peaks.npz --format json"
    assert execute(words.split()) == 0, capsys.readouterr().err
    made: Any = json.loads(capsys.readouterr().out)
    assert made["artifacts"][0]["metric"]["value"] == 1.0
