"""Choosing among students on this machine, as a notebook does: by what their manifests say and how fast they are here."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from littoral.architectures import build
from littoral.budget import Budget
from littoral.errors import BadInput, NoFit
from littoral_cloud.packaging.package import Bench, Packaged, candidates_from
from littoral_cloud.search.choose_here import choose, measured
from littoral_cloud.training.train import Trained
from tests.kit.images import bars

DATA = bars()
BENCH = Bench.of(DATA)


@pytest.fixture(scope="module")
def students() -> list[Packaged]:
    """Untrained, each claiming more than the one before."""
    made: list[Packaged] = []
    for width in (4, 8, 16):
        spec = {"name": "compact_cnn", "widths": [width, width]}
        torch.manual_seed(width)
        module = build(spec, channels=1, height=12, width=12, classes=3).eval()
        network = Trained.of("", module, spec, BENCH.input, 0.0)
        [student] = candidates_from(network, BENCH, ("ncnn",), model="bars", name=f"w{width}")
        made.append(replace(student, manifest=replace(student.manifest, accuracy=0.5 + width / 100)))
    return made


def test_the_most_accurate_inside_the_budget_is_chosen(students: list[Packaged]) -> None:
    small, middle, large = students
    assert choose(students, DATA, "") is large
    assert choose(students, DATA, f"artifact<={middle.manifest.artifact_bytes}B,p95<=1s") is middle
    assert choose(students, DATA, Budget(artifact_bytes=small.manifest.artifact_bytes)) is small
    with pytest.raises(NoFit, match="nearest is w4-ncnn, artifact_bytes"):
        choose(students, DATA, "artifact<=1B")
    with pytest.raises(NoFit, match="latency_ms"):
        choose(students, DATA, "p95<=0.0001us")


def test_each_is_timed_by_a_clock_that_is_given(students: list[Packaged]) -> None:
    ticks = iter(range(10**9))
    found = measured(students, DATA, rounds=3, clock=lambda: next(ticks) / 1000)
    assert [(m.name, m.latency_ms, m.samples) for m in found] == [(f"w{w}-ncnn", pytest.approx(1.0), 300) for w in (4, 8, 16)]
    assert [m.worst_class for m in found] == [min(s.manifest.class_accuracy) for s in students]
    assert len({m.manifest_digest for m in found}) == 3


def test_what_cannot_be_told_here_is_refused(students: list[Packaged]) -> None:
    with pytest.raises(BadInput, match="rss is measured on nodes"):
        choose(students, DATA, "rss<=8MB")
    with pytest.raises(BadInput, match="two have the same name"):
        measured([students[0], students[0]], DATA)
    with pytest.raises(BadInput, match="0 artifacts"):
        measured([], DATA)
