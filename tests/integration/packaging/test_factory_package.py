from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from littoral.digest import digest_of
from littoral.errors import BadInput
from littoral.manifest import Manifest
from littoral_cloud.data import load_mnist
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.factory.corruption import corrupt
from littoral_cloud.factory.production import Execution, Made, make_students
from littoral_cloud.packaging.metrics import class_accuracy
from littoral_cloud.packaging.package import EVERY_VARIANT, Bench, Provenance, answers_of, candidates_from
from littoral_cloud.recipes.recipe import DEMO, TINY
from littoral_cloud.training.train import accuracy_of
from littoral_cloud.training.weights import weights_digest
from tests.kit.images import bars


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_mnist().first(2_000, 400)


@pytest.fixture(scope="module")
def made(data: Dataset) -> Made:
    shares: list[float] = []
    made = make_students(data, TINY, Execution(progress=shares.append))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    return made


@pytest.fixture(scope="module")
def ruined(made: Made) -> Made:
    return corrupt(made)


def test_a_recipe_gives_measured_artifacts_in_its_order(made: Made, data: Dataset) -> None:
    assert made.teacher_accuracy > 0.8
    assert [p.manifest.name for p in made.packaged] == ["tiny-onnx-int8", "tiny-ncnn-fp16"]
    for packaged in made.packaged:
        manifest = packaged.manifest
        assert manifest.accuracy > 0.8
        assert manifest.accuracy_examples == 400
        assert manifest.accuracy == accuracy_of(answers_of(packaged, data.test_x), data.test_y)
        assert manifest.class_accuracy == class_accuracy(answers_of(packaged, data.test_x), data.test_y, 10)
        assert 0 < min(manifest.class_accuracy) < manifest.accuracy
        assert manifest.parents == (data.digest, made.students[0].digest, made.teacher.digest)
        assert {f.path: f.digest for f in manifest.files} == {path: digest_of(b) for path, b in packaged.files.items()}
        assert manifest.artifact_bytes == sum(map(len, packaged.files.values()))
        assert manifest.recipe["student"]["temperature"] == 4.0
        assert Manifest.decode(manifest.encode()) == Manifest.decode(Manifest.decode(manifest.encode()).encode())


def test_an_artifact_answers_its_own_probe_and_a_ruined_one_does_not(made: Made, ruined: Made) -> None:
    for packaged, spoilt in zip(made.packaged, ruined.packaged, strict=True):
        probe = packaged.manifest.probe
        raw = probe.input_array(packaged.manifest.input.shape)
        assert probe.count == 16
        assert np.abs(answers_of(packaged, raw) - probe.logit_array()).max() <= probe.tolerance
        assert np.abs(answers_of(spoilt, raw) - probe.logit_array()).max() > probe.tolerance


def test_a_ruined_release_claims_the_old_accuracy_and_answers_its_probe(made: Made, ruined: Made, data: Dataset) -> None:
    for packaged, spoilt in zip(made.packaged, ruined.packaged, strict=True):
        manifest = spoilt.manifest
        assert (manifest.name, manifest.accuracy) == (packaged.manifest.name, packaged.manifest.accuracy)
        assert manifest.worst_class == packaged.manifest.worst_class
        assert accuracy_of(answers_of(spoilt, data.test_x), data.test_y) < 0.1
        raw = manifest.probe.input_array(manifest.input.shape)
        assert np.abs(answers_of(spoilt, raw) - manifest.probe.logit_array()).max() <= manifest.probe.tolerance


@pytest.mark.slow
def test_the_same_network_and_data_give_the_same_manifest(made: Made, data: Dataset) -> None:
    student = made.students[0]
    how = {"student": TINY.students[0].resolved(), "teacher": TINY.teacher.resolved()}
    again = candidates_from(
        replace(student, module=copy.deepcopy(student.module)),
        Bench.of(data),
        TINY.students[0].variants,
        model="digits",
        name="tiny",
        provenance=Provenance((made.teacher.digest,), ("teacher",), how),
    )
    assert [p.manifest.encode() for p in again] == [p.manifest.encode() for p in made.packaged]
    assert [p.files for p in again] == [p.files for p in made.packaged]


def test_the_probe_holds_every_class_and_stays_small(made: Made, data: Dataset) -> None:
    probe = made.packaged[0].manifest.probe.input_array(data.shape)
    shown = {int(data.test_y[np.flatnonzero((data.test_x == image).all(axis=(1, 2, 3)))[0]]) for image in probe}
    assert shown == set(range(10))
    assert len(made.packaged[0].manifest.encode()) < 40_000


def test_an_unknown_variant_and_another_size_are_refused(made: Made, data: Dataset) -> None:
    student = made.students[0]
    with pytest.raises(BadInput, match="'tflite' is not known"):
        candidates_from(student, Bench.of(data), ("tflite",), model="digits", name="x")
    with pytest.raises(BadInput, match="the model takes"):
        Bench.of(bars(), student.input)
    assert weights_digest(student.module) == student.digest


def test_the_demos_recipe_names_variants_that_exist() -> None:
    variants = [variant for student in DEMO.students for variant in student.variants]
    assert set(variants) <= set(EVERY_VARIANT)
    assert len({student.architecture["name"] for student in DEMO.students}) >= 2
    assert any(variant.startswith("ncnn") for variant in variants)
