"""A search by its name, from its beginning to its release: what `train` would make is in there too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from littoral_cloud.cli import execute as command
from littoral_cloud.data.sources import load_dataset
from littoral_cloud.factory.production import teach_students
from littoral_cloud.recipes.fitted import fitted
from littoral_cloud.search import SearchControl, compress
from littoral_cloud.search.space import START
from littoral_cloud.search.starting import search_for
from littoral_cloud.training.train import accuracy_of, logits_of
from tests.kit.measured import rows, table


@pytest.mark.slow
def test_no_time_is_too_short_for_what_it_begins_with_and_its_release_is_inside_the_budget() -> None:
    data = table(60)
    found = compress(None, data, "artifact<=1KB", recipe=search_for("small", data), control=SearchControl(time_budget_s=0.0))
    assert found.reason == "time"
    assert [run.params for run in found.trials] == [{START: name} for name in found.recipe.starts]
    assert found.best is not None
    assert found.best.params == {START: "linear-onnx"}
    assert [p.manifest.name for p in found.made([found.best]).packaged] == ["linear-onnx", "linear-ncnn-fp16"]


@pytest.mark.slow
def test_what_train_would_make_is_in_its_release_and_what_it_finds_is_taught_again_on_all_examples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = rows(60)
    np.savez(tmp_path / "readings.npz", x=x, y=y)
    data = ["--data", str(tmp_path / "readings.npz"), "--data-dir", str(tmp_path / "cloud")]
    assert command(["compress", "small", *data, "--trials", "1", "--release", "--yes", "--format", "json"]) == 0
    said = capsys.readouterr()
    body = json.loads(said.out)
    assert body["ended"] == "trials"
    assert "begins with mlp-onnx-int8, mlp-s-onnx-int8, linear-onnx, then at most 1 trials" in said.err
    assert "4 of at most 4 runs done" in said.err
    made = {row["name"]: row for row in body["artifacts"]}
    assert body["chosen"] in made
    assert body["students"] == list(made)
    found = load_dataset(tmp_path / "readings.npz")
    wanted = teach_students(found, fitted(found))
    for student in wanted.students:  # the very networks of `train`
        if f"{student.name}-onnx" in made:
            right = accuracy_of(logits_of(student.module, student.input, found.test_x), found.test_y)
            assert made[f"{student.name}-onnx"]["accuracy"] == right
    begun = [f"{student.name}-{variant}" for student in fitted(found).students for variant in student.variants]
    assert list(made)[: len(begun)] == begun
    drawn = [row["trial"] for row in body["front"] if row["trial"] >= len(wanted.students)]
    assert [name for name in made if name not in begun] == [n for n in made if any(f"-{trial}-" in n for trial in drawn)]
    assert body["baseline"]["logistic"] > 0.5
    assert body["test_baseline"]["examples"] == len(found.train_y)
