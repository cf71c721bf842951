"""What a node refuses before it downloads anything: its own budget holds, whatever the cloud chose."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral.budget import Budget
from littoral.errors import BadManifest
from littoral_node.artifacts.fitness import OverBudget, RuntimeMissing, check_fitness
from tests.kit.models import artifact

RUNTIMES = frozenset({"onnxruntime"})


def test_what_is_inside_the_budget_passes(tmp_path: Path) -> None:
    manifest = artifact(tmp_path, class_accuracy=(0.99, 0.97, 0.98))
    check_fitness(manifest, "tiny", RUNTIMES, Budget.parse("artifact<=1MB,worst>=97%,runtime=onnxruntime"))
    check_fitness(artifact(tmp_path), "tiny", RUNTIMES, Budget())


@pytest.mark.parametrize(
    ("budget", "model", "error", "words"),
    [
        ("worst>=98%", "tiny", OverBudget, r"class_accuracy: worst_class: 0\.97 of 'class 1' is under 0\.98"),
        ("artifact<=1B", "tiny", OverBudget, r"manifest\.files: \d+ bytes, this node allows 1"),
        ("runtime=ncnn", "tiny", RuntimeMissing, "this node uses ncnn alone"),
        ("", "other", BadManifest, "is 'tiny', wanted for 'other'"),
    ],
)
def test_what_is_not_is_refused_by_name(tmp_path: Path, budget: str, model: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        check_fitness(artifact(tmp_path, class_accuracy=(0.99, 0.97, 0.98)), model, RUNTIMES, Budget.parse(budget))


def test_a_worst_class_that_is_not_known_is_refused_where_it_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(OverBudget, match="not measured when it was made"):
        check_fitness(artifact(tmp_path), "tiny", RUNTIMES, Budget.parse("worst>=1%"))
