"""docs/serving.md shows what `up` prints of an image model; tests/unit/littoral/test_snippets.py runs the like of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from littoral.manifest import Manifest
from littoral.probe import Probe
from littoral_cloud.local.snippets import USUAL, curl, triton
from tests.kit.models import artifact

PAGE = Path("docs/serving.md")


def digits() -> Manifest:
    shape = (1, 28, 28)
    with TemporaryDirectory() as folder:
        made = artifact(Path(folder), shape=shape, classes=10)
    black = Probe.of(np.zeros((1, *shape), np.uint8), np.zeros((1, 10), np.float32), 1.0)
    return replace(made, input=replace(made.input, name="input"), probe=black)


def test_the_page_asks_as_up_says() -> None:
    page = PAGE.read_text()
    assert curl("digits", digits(), USUAL.http) in page
    assert triton("digits", digits(), USUAL.grpc) in page
