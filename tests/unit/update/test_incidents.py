"""When hangs are too many, and when a model has proved itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral_node.serving.slots import Served
from littoral_node.supervision.failures import HANGS, HANGS_WITHIN_S, PROVED_S
from littoral_node.update.incidents import ModelIncidents
from tests.kit.models import artifact
from tests.kit.serving import served

NEW = "sha256:" + "b" * 64


def test_three_hangs_within_an_hour_are_too_many_and_three_in_a_day_are_not() -> None:
    incidents = ModelIncidents("m")
    assert [incidents.hung(NEW, 30, at) for at in (0.0, 1.0, 2.0)] == [1, 2, HANGS]
    assert incidents.incident == f"m: {NEW[:19]} took longer than 30 s for an inference (number 3)"
    incidents.forget_hangs()
    assert [incidents.hung(NEW, 30, 10.0 + number * HANGS_WITHIN_S / (HANGS - 1)) for number in range(20)] == [
        *range(1, HANGS),
        *[HANGS - 1] * (21 - HANGS),
    ]
    assert incidents.hangs == 23


@pytest.fixture
def here(tmp_path: Path) -> Served:
    return served(tmp_path)


def test_a_model_proves_itself_by_time_and_an_answer_in_the_agents_own_process(here: Served) -> None:
    incidents = ModelIncidents("m")
    assert incidents.proved(here, 5, 0.0) == ""
    assert incidents.proved(here, 9, PROVED_S - 1) == ""
    assert incidents.proved(here, 5, PROVED_S + 1) == ""  # nothing was asked of it
    assert incidents.proved(here, 6, PROVED_S + 1) == here.manifest_digest
    apart = Served(here.manifest, here.manifest_digest, here.model, isolated=True)
    assert incidents.proved(apart, 100, 1_000.0) == ""
    assert incidents.proved(here, 200, 1_001.0) == ""  # from here on again
    assert incidents.proved(None, 200, 2_000.0) == ""


def test_another_artifact_begins_again(here: Served, tmp_path: Path) -> None:
    incidents = ModelIncidents("m")
    other = Served(artifact(tmp_path / "other", seed=1), NEW, here.model)
    incidents.proved(here, 0, 0.0)
    assert incidents.proved(other, 50, 500.0) == ""
    assert incidents.proved(other, 51, 500.0 + PROVED_S) == NEW
