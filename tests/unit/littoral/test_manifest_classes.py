"""The accuracy of each class in a manifest: read, refused, absent in older ones, and its worst."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadManifest
from littoral.manifest import Manifest
from tests.kit.models import CLASSES, artifact


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder: Path = tmp_path_factory.mktemp("artifact")
    return artifact(folder)


@given(st.lists(st.floats(0, 1), min_size=CLASSES, max_size=CLASSES))
def test_what_is_written_is_read_again_and_the_worst_is_named(made: Manifest, fractions: list[float]) -> None:
    manifest = Manifest.decode(replace(made, class_accuracy=tuple(fractions)).encode())
    assert manifest.class_accuracy == tuple(fractions)
    label, worst = manifest.worst_class or ("", -1.0)
    assert worst == min(fractions)
    assert label == manifest.output.labels[fractions.index(worst)]
    assert manifest.accuracy_by_label[label] == worst


def test_a_manifest_from_before_the_field_is_read_and_knows_no_worst_class(made: Manifest) -> None:
    body = json.loads(made.encode())
    del body["class_accuracy"]
    manifest = Manifest.decode(json.dumps(body).encode())
    assert (manifest.class_accuracy, manifest.worst_class, manifest.accuracy_by_label) == ((), None, {})


@pytest.mark.parametrize(
    "value",
    [
        [0.5] * (CLASSES + 1),
        [0.5] * (CLASSES - 1),
        [0.5] * (CLASSES - 1) + [1.01],
        [0.5] * (CLASSES - 1) + [-0.01],
        [0.5] * (CLASSES - 1) + [float("nan")],
        [0.5] * (CLASSES - 1) + ["1"],
        [0.5] * (CLASSES - 1) + [True],
        {"0": 0.5},
        None,
        0.5,
    ],
)
def test_what_is_not_one_fraction_a_label_is_refused(made: Manifest, value: Any) -> None:
    body = {**json.loads(made.encode()), "class_accuracy": value}
    with pytest.raises(BadManifest, match=r"manifest\.class_accuracy|manifest: is not JSON: .*NaN"):
        Manifest.decode(json.dumps(body).encode())
