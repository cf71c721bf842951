"""What was made is tried as a node will try it: what a node would refuse goes into no release."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from littoral.digest import digest_of
from littoral.errors import RuntimeFailure
from littoral.manifest import File
from littoral.probe import Probe
from littoral_cloud.packaging.node_check import taken_by_a_node
from littoral_cloud.packaging.package import Packaged, travelling
from tests.kit.models import artifact, images


def packaged(folder: Path, name: str) -> Packaged:
    """As an exporter leaves it, right on its probe."""
    manifest = artifact(folder / name)
    files = {file.path: (folder / name / file.path).read_bytes() for file in manifest.files}
    named, coded = travelling(files)
    return Packaged(replace(manifest, name=name, files=named), files, coded)


async def test_what_a_node_refuses_is_left_out_and_said(tmp_path: Path) -> None:
    good, answers_otherwise, damaged, coded_wrongly, elsewhere = (packaged(tmp_path, name) for name in "abcde")
    probe = Probe.of(images(4, 1), np.full((4, 3), 7, np.float32), 1e-3)
    answers_otherwise = replace(answers_otherwise, manifest=replace(answers_otherwise.manifest, probe=probe))
    garbage = b"no model"
    file = File("model.onnx", digest_of(garbage), len(garbage))
    damaged = Packaged(replace(damaged.manifest, files=(file,)), {"model.onnx": garbage})
    assert good.coded
    other = packaged(tmp_path, "other").files["model.onnx"].replace(b"linear", b"LINEAR")
    named, coded = travelling({"model.onnx": other})
    wrong = replace(coded_wrongly.manifest.files[0], transfer=named[0].transfer)
    coded_wrongly = Packaged(replace(coded_wrongly.manifest, files=(wrong,)), coded_wrongly.files, coded)
    elsewhere = replace(elsewhere, manifest=replace(elsewhere.manifest, runtime="abacus"))
    told: list[str] = []
    kept = await taken_by_a_node([good, answers_otherwise, damaged, coded_wrongly, elsewhere], told.append)
    assert kept == (good, elsewhere)
    assert told[0] == "e: not tried as a node would, abacus is not here"
    assert [words.split(":")[:2] for words in told[1:]] == [
        ["a node refuses b", " probe-mismatch"],
        ["a node refuses c", " runtime-failure"],
        ["a node refuses d", " digest-mismatch"],
    ]
    assert all(words.endswith("it is not released") for words in told[1:])


async def test_where_nothing_is_left_nothing_is_released(tmp_path: Path) -> None:
    made = packaged(tmp_path, "a")
    made = replace(made, manifest=replace(made.manifest, recipe={"note": "x" * (4 << 20)}))
    with pytest.raises(RuntimeFailure, match=r"a node refuses a: bad-manifest: its manifest has 5,.* at most 4,194,304 are read"):
        await taken_by_a_node([made])
