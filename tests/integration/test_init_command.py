"""littoral-cloud init, and up where there is nothing to serve, as an operator types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from littoral.budget import Budget
from littoral_cloud.cli import execute
from littoral_cloud.recipes.recipe import DEMO
from littoral_cloud.recipes.recipe_file import recipe_named
from littoral_node.config.settings import load_settings
from tests.kit.shapes import shape_folder


def test_it_writes_a_recipe_that_fits_a_budget_and_a_readme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = shape_folder(tmp_path / "photos", 5)
    project = tmp_path / "project"
    assert execute(["init", str(project), "--data", str(photos), "--model", "shapes", "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["files"] == ["recipe.toml", "node/node.toml", "README.md"]
    assert said["next"].startswith(f"cd {project} && littoral-cloud train --data {photos} ")
    recipe = recipe_named(str(project / "recipe.toml"))
    assert recipe.model == "shapes"
    assert "3 classes, 12 training examples of 3x16x16" in (project / "recipe.toml").read_text()
    assert load_settings(project / "node", {}, {}).budget == Budget.parse("artifact<=100KB")
    assert execute(["train", "--data", str(photos), "--recipe", str(project / "recipe.toml"), "--dry-run"]) == 0


def test_without_data_it_is_the_demos_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["init", str(tmp_path / "project")]) == 0
    assert "YOUR_DATA" in capsys.readouterr().out
    assert recipe_named(str(tmp_path / "project" / "recipe.toml")) == DEMO


def test_it_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for place, complaint in ((tmp_path, "holds notes.txt"), (tmp_path / "notes.txt", "is a file")):
        assert execute(["init", str(place)]) == 2
        assert f"error: init: {place} {complaint}" in capsys.readouterr().err
    assert execute(["init", str(tmp_path / "new"), "--data", str(tmp_path / "gone")]) == 4
    assert execute(["init", str(tmp_path / "new"), "--model", "No Name"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_up_without_a_release_says_what_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cloud"
    assert execute(["up", "--data-dir", str(folder)]) == 4
    assert "holds no coordinator's data" in capsys.readouterr().err
    assert not folder.exists()
    assert execute(["token", "create", "--data-dir", str(folder), "--address", "127.0.0.1:1"]) == 0
    assert execute(["up", "--data-dir", str(folder)]) == 4
    assert "release: there is none in" in capsys.readouterr().err
    assert execute(["up", "--data-dir", str(folder), "--budget", "artifact=tiny"]) == 2
