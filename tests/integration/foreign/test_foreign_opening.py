"""A file from anywhere is opened or refused in words; whatever it does, it does to its own process."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from littoral.errors import BadInput, FleetError, NotFound, RuntimeFailure, TooLarge
from littoral.tensor_spec import TensorSpec
from littoral_cloud.foreign.inspecting import MOST_VALUES, inspected, read_file
from littoral_cloud.foreign.opened import ForeignCrash, ForeignHang, ForeignLimits, open_model
from tests.kit.foreign import endless, greedy, house_prices, made, write

SMALL = ForeignLimits(memory=2 << 30, seconds=60.0)


def looked_through(model: onnx.ModelProto | bytes, path: Path = Path("model.onnx")) -> onnx.ModelProto:
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return inspected(data, path, "model").model


def test_what_a_file_takes_and_gives(tmp_path: Path) -> None:
    with open_model(write(tmp_path / "m.onnx", house_prices()), limits=SMALL) as model:
        assert model.inputs == (TensorSpec("area", "FP32", (-1, 2)), TensorSpec("rooms", "INT64", (-1, 1)))
        assert [(spec.name, spec.datatype) for spec in model.outputs] == [("price", "FP32"), ("cheap", "BOOL")]
        assert (model.opset, model.ir) == (18, 9)
        found = model.run({"area": np.ones((3, 2), np.float32), "rooms": np.int64([[0], [1], [2]])})
        assert found["price"].tolist() == [[5], [15], [25]]
        assert found["cheap"].tolist() == [[True], [True], [False]]
        with pytest.raises(RuntimeFailure, match="onnxruntime cannot run it"):
            model.run({"area": np.ones((3, 7), np.float32), "rooms": np.int64([[0], [1], [2]])})
        assert model.run({"area": np.ones((1, 2), np.float32), "rooms": np.int64([[0]])})["price"].item() == 5, "it goes on"


def test_the_names_of_as_many_classes_as_there_may_be_are_read(tmp_path: Path) -> None:
    model = house_prices()
    names = [f"class {number}" for number in range(1 << 16)]
    model.graph.initializer.append(helper.make_tensor("names", TensorProto.STRING, [len(names)], [n.encode() for n in names]))
    with open_model(write(tmp_path / "m.onnx", model), limits=SMALL) as opened:
        assert opened.class_names == (tuple(names),)


def with_weights_elsewhere(folder: Path, location: str, **more: str) -> Path:
    model = house_prices()
    [tensor] = [t for t in model.graph.initializer if t.name == "w"]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return write(folder / "m.onnx", model)


WEIGHTS = np.float32([[3], [2]]).tobytes()


def test_weights_in_files_beside_it_become_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "w.bin").write_bytes(b"xx" + WEIGHTS + b"yy")
    path = with_weights_elsewhere(tmp_path, "parts/w.bin", offset="2", length="8")
    with open_model(path, limits=SMALL) as model:
        assert model.run({"area": np.ones((1, 2), np.float32), "rooms": np.int64([[0]])})["price"].item() == 5
        assert b"w.bin" not in model.data


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("/etc/passwd", "'/etc/passwd', outside its own folder"),
        ("../secret.bin", r"'\.\./secret\.bin', outside its own folder"),
        ("parts/../../secret.bin", "outside its own folder"),
        ("", "'', outside its own folder"),
        ("..\\\\secret.bin", "outside its own folder"),
        ("a\0b", "outside its own folder"),
        ("link.bin", r"'link\.bin', through a link"),
        ("linked/secret.bin", r"'linked/secret\.bin', through a link"),
        (".", "which is no file|outside its own folder"),
        ("parts", "which is no file"),
        ("pipe", "which is no file"),
    ],
)
def test_weights_outside_its_folder_or_behind_a_link_are_never_read(tmp_path: Path, location: str, said: str) -> None:
    folder = tmp_path / "model"
    (folder / "parts").mkdir(parents=True)
    (tmp_path / "secret.bin").write_bytes(WEIGHTS)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    path = with_weights_elsewhere(folder, location)
    with pytest.raises(BadInput, match=said):
        looked_through(path.read_bytes(), path)


def test_weights_that_are_not_there_or_not_enough_are_named(tmp_path: Path) -> None:
    path = with_weights_elsewhere(tmp_path, "gone.bin")
    with pytest.raises(NotFound, match=r"'gone\.bin', which does not exist"):
        looked_through(path.read_bytes(), path)
    (tmp_path / "w.bin").write_bytes(WEIGHTS)
    for more in ({"offset": "4", "length": "8"}, {"offset": "-1"}, {"length": "9" * 30}, {"offset": "9"}):
        path = with_weights_elsewhere(tmp_path, "w.bin", **more)
        with pytest.raises(BadInput, match="it holds 8"):
            looked_through(path.read_bytes(), path)
    path = with_weights_elsewhere(tmp_path, "w.bin", offset="four")
    with pytest.raises(BadInput, match="at a place that is no number"):
        looked_through(path.read_bytes(), path)


def test_an_operator_of_a_library_is_named_with_its_node() -> None:
    model = made(
        [helper.make_node("Run", ["x"], ["y"], domain="their.ops", name="the/node")],
        [("x", TensorProto.FLOAT, [1])],
        [("y", TensorProto.FLOAT, [1])],
        domains=["their.ops"],
    )
    with pytest.raises(BadInput, match=r"needs operator Run of 'their\.ops', at node 'the/node'"):
        looked_through(model)


def test_an_operator_that_the_file_itself_defines_is_its_own() -> None:
    model = made(
        [helper.make_node("Twice", ["x"], ["y"], domain="their.functions")],
        [("x", TensorProto.FLOAT, [1])],
        [("y", TensorProto.FLOAT, [1])],
        domains=["their.functions"],
    )
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    opsets = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("their.functions", "Twice", ["a"], ["b"], body, opsets))
    assert looked_through(model).functions[0].name == "Twice"
    model.functions[0].name = "Thrice"
    with pytest.raises(BadInput, match="needs operator Twice"):
        looked_through(model)


@pytest.mark.parametrize(
    "dims", [[1 << 40], [1 << 20, 1 << 20], [MOST_VALUES + 1], [-1], [2, -5], [1 << 62, 1 << 62], [7], [0, 3]]
)
def test_a_tensor_that_declares_what_it_does_not_hold_is_refused_before_anything_is_allocated(dims: list[int]) -> None:
    model = house_prices()
    [tensor] = [t for t in model.graph.initializer if t.name == "w"]
    del tensor.dims[:]
    tensor.dims.extend(dims)
    with pytest.raises(BadInput, match="tensor 'w' declares"):
        looked_through(model)


def test_an_input_of_any_size_at_all_is_refused() -> None:
    model = made([helper.make_node("Identity", ["x"], ["y"])], [("x", TensorProto.FLOAT, [1 << 40])], [("y", 1, [1 << 40])])
    with pytest.raises(BadInput, match=r"declares 'x' as \[1099511627776\]"):
        looked_through(model)


def test_what_is_no_file_or_too_large_is_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        read_file(tmp_path / "gone.onnx", "model")
    with pytest.raises(BadInput, match="cannot be read"):
        read_file(tmp_path, "model")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="it is no file"):
        read_file(tmp_path / "pipe", "model")
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(TooLarge, match="holds 1,073,741,825 bytes"):
        read_file(tmp_path / "huge.onnx", "model")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_bytes_a_file_holds_it_is_looked_through_or_refused_in_words(data: st.DataObject) -> None:
    whole = bytearray(endless().SerializeToString())
    how = data.draw(st.sampled_from(["random", "cut", "changed"]))
    if how == "random":
        whole = bytearray(data.draw(st.binary(max_size=300)))
    elif how == "cut":
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6)):
            whole[place] = data.draw(st.integers(0, 255))
    refused = None
    try:
        looked_through(bytes(whole))
    except FleetError as error:
        refused = error
    assert refused is None or (0 < len(refused.message) < 700 and refused.hint)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=4))
@example(places=[(97, 0)])  # the file can be read, and onnxruntime does not take it
def test_a_damaged_file_is_opened_or_refused_and_never_takes_us_along(tmp_path: Path, places: list[tuple[int, int]]) -> None:
    whole = bytearray(house_prices().SerializeToString())
    for place, value in places:
        whole[place % len(whole)] = value
    (tmp_path / "m.onnx").write_bytes(bytes(whole))
    try:
        open_model(tmp_path / "m.onnx", limits=SMALL).close()
    except FleetError as error:
        assert "m.onnx" in error.message  # noqa: PT017 - either outcome is right


def test_a_model_that_wants_all_memory_is_a_failure_of_its_own(tmp_path: Path) -> None:
    with open_model(write(tmp_path / "m.onnx", greedy(1 << 33)), limits=SMALL) as model:
        with pytest.raises((RuntimeFailure, TooLarge)) as refused:
            model.run({"x": np.zeros(1, np.float32)})
        assert "m.onnx" in refused.value.message


def test_a_model_that_never_ends_is_ended(tmp_path: Path) -> None:
    model = open_model(write(tmp_path / "m.onnx", endless()), limits=ForeignLimits(memory=2 << 30, seconds=3.0))
    with pytest.raises((ForeignHang, ForeignCrash), match=r"m\.onnx"):
        model.run({"x": np.zeros(1, np.float32)})
    with pytest.raises(RuntimeFailure):
        model.run({"x": np.zeros(1, np.float32)})
    model.close()


def test_limits_that_are_none_are_refused() -> None:
    with pytest.raises(BadInput, match="limits: 1 bytes"):
        ForeignLimits(memory=1)
    with pytest.raises(BadInput, match="0 s"):
        ForeignLimits(seconds=0)
