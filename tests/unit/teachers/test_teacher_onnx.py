"""An ONNX file from anywhere as teacher: what it takes and gives is held against the data set before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from littoral.digest import digest_of
from littoral.errors import BadInput, FleetError, NotFound, RuntimeFailure, TooLarge
from littoral_cloud.recipes.recipe import OnnxRecipe
from littoral_cloud.teachers.onnx_teacher import OnnxTeacher
from littoral_cloud.teachers.teacher import foreign_teacher
from tests.kit.images import bars
from tests.kit.teachers import linear_onnx

DATA = bars()
PIXELS = 144


def load(path: Path, model: onnx.ModelProto | bytes, **more: object) -> OnnxTeacher:
    path = path / "teacher.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    teacher = foreign_teacher(OnnxRecipe(str(path), **more), DATA)  # type: ignore[arg-type]
    assert isinstance(teacher, OnnxTeacher)
    return teacher


@pytest.mark.parametrize(
    ("more", "prepared"),
    [
        ({"prepare": "raw"}, lambda x: x),
        ({"prepare": "unit"}, lambda x: x / 255),
        ({"mean": (0.5,), "std": (0.25,)}, lambda x: (x / 255 - 0.5) / 0.25),
    ],
)
def test_pixels_are_prepared_as_the_recipe_says(tmp_path: Path, more: dict[str, object], prepared: object) -> None:
    weights = np.random.default_rng(1).normal(size=(PIXELS, 3)).astype(np.float32)
    teacher = load(tmp_path, linear_onnx(weights), **more)
    x = prepared(DATA.test_x.astype(np.float64)).reshape(len(DATA.test_x), -1)  # type: ignore[operator]
    np.testing.assert_allclose(teacher.logits(DATA.test_x), x @ weights, rtol=1e-3, atol=1e-3)
    assert teacher.parameters == PIXELS * 3


def test_by_default_pixels_are_prepared_as_for_our_own_networks(tmp_path: Path) -> None:
    weights = np.random.default_rng(1).normal(size=(PIXELS, 3)).astype(np.float32)
    model = linear_onnx(weights)
    teacher = load(tmp_path, model)
    x = DATA.train_x / 255
    z = (DATA.test_x / 255 - x.mean()) / x.std()
    np.testing.assert_allclose(teacher.logits(DATA.test_x), z.reshape(len(z), -1) @ weights, rtol=1e-2, atol=2e-2)
    assert teacher.digest == digest_of(model.SerializeToString())
    assert load(tmp_path, model, prepare="raw").digest != teacher.digest


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_batch_of_a_fixed_size_is_filled_up(tmp_path: Path, batch: int) -> None:
    free = load(tmp_path, linear_onnx()).logits(DATA.test_x)
    fixed = load(tmp_path, linear_onnx(shape=(batch, 1, 12, 12))).logits(DATA.test_x)
    np.testing.assert_allclose(fixed, free, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_kinds_of_numbers_are_given_as_they_are_wanted(tmp_path: Path, kind: int) -> None:
    wanted = load(tmp_path, linear_onnx(), prepare="raw").logits(DATA.test_x)
    found = load(tmp_path, linear_onnx(kind=kind), prepare="raw").logits(DATA.test_x)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)


def with_two_outputs() -> onnx.ModelProto:
    model = linear_onnx()
    model.graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["batch", PIXELS]))
    return model


def test_of_several_outputs_the_recipe_names_one(tmp_path: Path) -> None:
    assert load(tmp_path, with_two_outputs(), output="logits").logits(DATA.test_x).shape == (48, 3)
    with pytest.raises(BadInput, match=r"has 2 outputs .*set output to one of logits, flat"):
        load(tmp_path, with_two_outputs())
    with pytest.raises(BadInput, match=r"has no 'answers' .*it has logits, flat"):
        load(tmp_path, with_two_outputs(), output="answers")
    with pytest.raises(BadInput, match=r"gives flat of shape \[any, 144\], the data set has 3 classes"):
        load(tmp_path, with_two_outputs(), output="flat")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (linear_onnx(shape=("batch", 1, 28, 28)), r"takes \[any, 1, 28, 28\], the images of bars are \[1, 12, 12\]"),
        (linear_onnx(shape=("batch", 12, 12, 1)), "its channels come last"),
        (linear_onnx(shape=("batch", PIXELS)), r"\(batch, channels, height, width\) is wanted"),
        (linear_onnx(classes=10), r"gives logits of shape \[any, 10\], the data set has 3 classes"),
        (linear_onnx(kind=TensorProto.INT64), "takes INT64"),
        (linear_onnx(softmax=True), "gave probabilities"),
    ],
)
def test_what_does_not_fit_the_data_set_is_named(tmp_path: Path, model: onnx.ModelProto, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        load(tmp_path, model)


def test_softmax_is_undone_where_the_recipe_says_so(tmp_path: Path) -> None:
    weights = (np.random.default_rng(2).normal(size=(PIXELS, 3)) / 50).astype(np.float32)
    logits = load(tmp_path, linear_onnx(weights)).logits(DATA.test_x)
    undone = load(tmp_path, linear_onnx(weights, softmax=True), gives="probabilities").logits(DATA.test_x)
    np.testing.assert_allclose(undone - undone[:, :1], logits - logits[:, :1], atol=1e-4)


def test_weights_in_a_file_beside_it_are_its_own(tmp_path: Path) -> None:
    whole = load(tmp_path, linear_onnx()).logits(DATA.test_x)
    onnx.save(linear_onnx(), str(tmp_path / "split.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0)
    split = load(tmp_path, (tmp_path / "split.onnx").read_bytes())
    np.testing.assert_array_equal(split.logits(DATA.test_x), whole)
    weights = bytearray((tmp_path / "weights.bin").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "weights.bin").write_bytes(bytes(weights))
    assert load(tmp_path, (tmp_path / "split.onnx").read_bytes()).digest != split.digest, "they are part of what it is"


def test_weights_outside_its_folder_are_refused_within_a_node_too(tmp_path: Path) -> None:
    model = linear_onnx()
    tensor = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))
    with pytest.raises(BadInput, match="keeps 'hidden' in another file, '/etc/passwd', outside its own folder"):
        load(tmp_path, model)


def test_an_operator_from_a_library_is_refused(tmp_path: Path) -> None:
    model = linear_onnx()
    model.opset_import.append(helper.make_opsetid("their.ops", 1))
    model.graph.node.append(helper.make_node("Run", ["flat"], ["out"], domain="their.ops"))
    with pytest.raises(BadInput, match=r"needs operator Run of 'their\.ops'"):
        load(tmp_path, model)


def test_an_operator_that_nobody_knows_is_a_failure_of_the_runtime(tmp_path: Path) -> None:
    model = linear_onnx()
    model.graph.node[1].op_type = "Fluten"
    with pytest.raises(RuntimeFailure, match=r"cannot load .*Fluten"):
        load(tmp_path, model)


def test_a_file_that_is_not_there_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"gone\.onnx does not exist"):
        foreign_teacher(OnnxRecipe(str(tmp_path / "gone.onnx")), DATA)
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(TooLarge, match="holds 1,073,741,825 bytes"):
        foreign_teacher(OnnxRecipe(str(tmp_path / "huge.onnx")), DATA)
    with pytest.raises(BadInput, match="cannot be read"):
        foreign_teacher(OnnxRecipe(str(tmp_path)), DATA)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | st.tuples(st.integers(0, 1500), st.integers(0, 255)))
def test_a_damaged_file_is_refused_or_answers_in_its_shape(tmp_path: Path, data: bytes | tuple[int, int]) -> None:
    if isinstance(data, tuple):
        whole = bytearray(linear_onnx().SerializeToString())
        whole[data[0] % len(whole)] = data[1]
        data = bytes(whole)
    try:
        teacher = load(tmp_path, data)
    except FleetError:
        return
    assert teacher.logits(DATA.test_x[:3]).shape == (3, 3)
