"""Several teachers that answer as one, and networks from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from littoral.errors import BadInput, NotFound
from littoral_cloud.data.dataset import Images
from littoral_cloud.recipes.recipe import EnsembleRecipe, FunctionRecipe, Member, TeacherRecipe, WeightsRecipe
from littoral_cloud.teachers.function_teacher import FunctionTeacher
from littoral_cloud.teachers.teacher import Ensemble, NetworkTeacher, Teacher, foreign_teacher, ready_teacher
from littoral_cloud.training.schedule import Logits, Schedule
from littoral_cloud.training.train import Trained, logits_of, train_teacher
from littoral_cloud.training.weights import save_weights
from tests.kit.images import bars

DATA = bars()
SPEC = {"name": "compact_cnn", "widths": [4, 8]}
NO_IMAGES = DATA.test_x[:0]


def saying(logits: Logits, digest: str = "") -> Teacher:
    def answer(_: Images) -> Logits:
        return logits

    return FunctionTeacher("fixed", digest, logits.shape[1], answer)


def softened(logits: Logits, heat: float) -> np.ndarray:  # type: ignore[type-arg]
    z = logits.astype(np.float64) / heat
    z = np.exp(z - z.max(1, keepdims=True))
    return z / z.sum(1, keepdims=True)


some_logits = arrays(np.float32, (4, 3), elements=st.floats(-200, 200, width=32))


@given(a=some_logits, b=some_logits, w=st.floats(0.125, 8), heat=st.sampled_from([1.0, 4.0, 20.0]))
def test_probabilities_at_the_temperature_are_the_weighted_mean_of_the_members(
    a: Logits, b: Logits, w: float, heat: float
) -> None:
    images = DATA.test_x[:4]
    both = Ensemble((saying(a), saying(b)), (w, 1.0), "probabilities", heat).logits(images)
    wanted = (w * softened(a, heat) + softened(b, heat)) / (w + 1)
    assert np.isfinite(both).all()
    np.testing.assert_allclose(softened(both, heat), wanted, atol=1e-3)


@given(a=some_logits, b=some_logits)
def test_the_mean_of_logits_is_the_geometric_mean_of_probabilities(a: Logits, b: Logits) -> None:
    a, b = a / 20, b / 20  # so that no product of two probabilities is lost to rounding
    both = Ensemble((saying(a), saying(b)), (1.0, 1.0)).logits(DATA.test_x[:4])
    product = np.sqrt(softened(a, 2.0) * softened(b, 2.0))
    np.testing.assert_allclose(softened(both, 2.0), product / product.sum(1, keepdims=True), atol=1e-5)


def test_only_proportions_of_weights_count() -> None:
    a, b = saying(np.array([[4.0, 0, 0]], np.float32)), saying(np.array([[0, 8.0, 0]], np.float32))
    for combine in ("logits", "probabilities"):
        one = Ensemble((a, b), (1.0, 3.0), combine).logits(DATA.test_x[:1])  # type: ignore[arg-type]
        other = Ensemble((a, b), (10.0, 30.0), combine).logits(DATA.test_x[:1])  # type: ignore[arg-type]
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_whatever_changes_its_answers_changes_its_digest() -> None:
    logits = np.zeros((1, 3), np.float32)
    a, b = saying(logits, "a"), saying(logits, "b")
    ensembles = [
        Ensemble((a, b), (1.0, 1.0)),
        Ensemble((b, a), (1.0, 1.0)),
        Ensemble((a, b), (1.0, 2.0)),
        Ensemble((a, b), (1.0, 1.0), "probabilities"),
        Ensemble((a, b), (1.0, 1.0), "probabilities", 2.0),
    ]
    assert len({e.digest for e in ensembles}) == 5
    assert Ensemble((a, b), (1.0, 1.0), "logits", 2.0).digest == ensembles[0].digest  # the temperature has no part in it


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train_teacher(DATA, SPEC, epochs=1, seed=1, schedule=Schedule(batch=16, learning_rate=1e-2))


def test_a_network_of_ours_answers_from_its_file_as_it_did(trained: Trained, tmp_path: Path) -> None:
    save_weights(tmp_path / "old.safetensors", trained.module, trained.spec)
    teacher = foreign_teacher(WeightsRecipe(str(tmp_path / "old.safetensors")), DATA)
    assert (teacher.digest, teacher.parameters, teacher.name) == (trained.digest, trained.parameters, "old")
    wanted = logits_of(trained.module, trained.input, DATA.test_x)
    np.testing.assert_allclose(teacher.logits(DATA.test_x), wanted, atol=1e-5)
    other = foreign_teacher(WeightsRecipe(str(tmp_path / "old.safetensors"), prepare="unit"), DATA)
    assert other.digest != teacher.digest
    assert (other.logits(DATA.test_x) != teacher.logits(DATA.test_x)).any()


def test_a_file_of_another_data_set_is_refused(trained: Trained, tmp_path: Path) -> None:
    save_weights(tmp_path / "old.safetensors", trained.module, trained.spec)
    with pytest.raises(
        BadInput, match=r"weights\.features\.conv1\.weight: shape is \(4, 1, 3, 3\), compact_cnn has \(4, 3, 3, 3\)"
    ):
        foreign_teacher(WeightsRecipe(str(tmp_path / "old.safetensors")), bars(channels=3))
    with pytest.raises(BadInput, match="holds 2 values, the images have 3 channels"):
        foreign_teacher(WeightsRecipe(str(tmp_path / "x"), mean=(0.5, 0.5), std=(1.0, 1.0)), bars(channels=3))
    with pytest.raises(NotFound, match="does not exist"):
        foreign_teacher(WeightsRecipe(str(tmp_path / "gone.safetensors")), DATA)
    (tmp_path / "pickled.safetensors").write_bytes(b"\x80\x04rubbish")
    with pytest.raises(BadInput, match="pickled torch file, which is never loaded"):
        foreign_teacher(WeightsRecipe(str(tmp_path / "pickled.safetensors")), DATA)


def test_members_from_elsewhere_are_tried_before_the_others_are_trained(trained: Trained) -> None:
    names: list[str] = []

    def train(name: str, _: TeacherRecipe) -> Trained:
        names.append(name)
        return trained

    ours, theirs = Member(TeacherRecipe(SPEC, 1)), Member(FunctionRecipe("tests.kit.teachers:by_rows"), 2.0)
    teacher = ready_teacher(EnsembleRecipe((ours, theirs, ours)), DATA, train)
    assert names == ["teacher-1", "teacher-3"]
    assert isinstance(teacher, Ensemble)
    assert [type(member) for member in teacher.members] == [NetworkTeacher, FunctionTeacher, NetworkTeacher]
    assert teacher.weights == (1.0, 2.0, 1.0)
    assert teacher.parameters == 2 * trained.parameters
    wanted = (2 * logits_of(trained.module, trained.input, DATA.test_x) + 2 * teacher.members[1].logits(DATA.test_x)) / 4
    np.testing.assert_allclose(teacher.logits(DATA.test_x), wanted, rtol=1e-4, atol=1e-5)
    names.clear()
    with pytest.raises(NotFound):
        ready_teacher(EnsembleRecipe((ours, Member(FunctionRecipe("tests.kit.teachers:nobody")))), DATA, train)
    assert names == []
