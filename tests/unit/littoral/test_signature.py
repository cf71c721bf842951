"""Manifests of imported models: what travels reads back, what is wrong is named, and what was signed before is read as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.budget import Budget, Measured, best_fit
from littoral.errors import BadInput, BadManifest
from littoral.manifest import FOREIGN_SCHEMA, Manifest, Output
from littoral.metric import Metric
from littoral.preparation import Input, Resize
from littoral.probe import NO_PROBE
from littoral.signature import DATATYPES, Packed, Signature, TensorProbe, datatype_of
from littoral.tensor_spec import TensorSpec
from tests.kit.models import artifact


@cache
def ours() -> Manifest:
    with TemporaryDirectory() as folder:
        return artifact(Path(folder))


def foreign(**more: Any) -> Manifest:
    x, y = np.arange(6, dtype=np.int64).reshape(3, 2), np.zeros((3, 1), np.float32)
    signature = Signature(
        (TensorSpec("x", "INT64", (-1, 2)),),
        (TensorSpec("y", "FP32", (-1, 1)),),
        TensorProbe({"x": Packed.of(x)}, {"y": Packed.of(y)}, {"y": 0.1}),
    )
    fields = {
        **{"signature": signature, "schema": FOREIGN_SCHEMA, "task": "regression", "metric": Metric("rmse", 0.5, False)},
        **{"output": Output("y", ()), "input": Input("x", (2,), 1.0, (0.0,), (1.0,)), "probe": NO_PROBE, "accuracy": 0.0},
    }
    return replace(ours(), **{**fields, **more})


def test_what_was_signed_before_says_nothing_new_and_is_read_as_it_was() -> None:
    body = json.loads(ours().encode())
    assert not {"task", "metric", "signature"} & set(body)
    assert "resize" not in body["input"]
    assert body["schema"] == 1
    read = Manifest.decode(ours().encode())
    assert (read.task, read.metric, read.signature, read.score) == ("classification", None, None, ours().accuracy)
    assert read.encode() == ours().encode()


def test_a_manifest_of_an_imported_model_reads_back() -> None:
    made = foreign()
    assert Manifest.decode(made.encode()) == made
    assert "probe" not in json.loads(made.encode())
    assert made.score == -0.5
    resized = replace(ours(), input=replace(ours().input, resize=Resize("area", "pad")))
    assert Manifest.decode(resized.encode()) == resized


def wrong(body: dict[str, Any], *path: Any, to: Any) -> str:
    holder = body
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = to
    with pytest.raises(BadManifest) as refused:
        Manifest.decode(json.dumps(body).encode())
    return refused.value.message


@pytest.mark.parametrize(
    ("path", "to", "said"),
    [
        (("task",), "guessing", "manifest.task: 'guessing' is not known"),
        (("schema",), 1, "manifest.signature: is none of schema 1"),
        (("schema",), 3, "manifest.schema: is 3"),
        (("schema",), True, "manifest.schema: is True"),
        (("signature", "inputs"), [], "manifest.signature.inputs: holds 0 tensors"),
        (("signature", "inputs", 0, "datatype"), "BYTES", "inputs[0].datatype: 'BYTES' is not known"),
        (("signature", "inputs", 0, "shape"), [-2], "inputs[0].shape"),
        (("signature", "inputs", 0, "shape"), [True, 2], "inputs[0].shape"),
        (("signature", "inputs", 0, "shape"), [-1, 3], "probe.inputs: holds no INT64 [any, 3] for 'x'"),
        (("signature", "outputs", 0, "name"), "z", "probe.outputs: holds no FP32 [any, 1] for 'z'"),
        (("signature", "probe", "tolerances"), {}, "tolerances: must hold one for each output"),
        (("signature", "probe", "tolerances", "y"), -1, "tolerances.y: -1.0 must be a number that is not negative"),
        (("signature", "probe", "inputs", "x", "data"), "!", "data: is not base64 of INT64"),
        (("signature", "probe", "inputs", "x", "data"), "AAAA", "data: is not base64 of INT64"),
        (("signature", "probe", "inputs", "x", "data"), "", "data: holds 0 values for the shape [3, 2]"),
        (("signature", "probe", "inputs", "x", "shape"), [1, 2], "data: holds 6 values for the shape [1, 2]"),
        (("signature", "probe", "inputs", "x", "shape"), [1 << 40, 2], "is no array of at most"),
        (("metric", "value"), "good", "manifest.metric.value: 'good' is a text"),
        (("metric", "higher_is_better"), 1, "manifest.metric.higher_is_better: 1 is a whole number"),
        (("acuracy",), 1.0, "manifest.acuracy: is not known"),
        (("files", 0, "size"), 1, "manifest.files[0].size: is not known"),
        (("accuracy",), True, "manifest.accuracy: True is true or false"),
        (("parameters",), 1.0, "manifest.parameters: 1.0 is a number"),
        (("metric",), None, "manifest.metric: is null"),
    ],
)
def test_what_is_wrong_in_it_is_named(path: tuple[Any, ...], to: Any, said: str) -> None:
    assert said in wrong(json.loads(foreign().encode()), *path, to=to)


def test_a_resize_that_is_not_known_is_refused() -> None:
    body = json.loads(replace(ours(), input=replace(ours().input, resize=Resize("area", "pad"))).encode())
    assert "input.resize" in wrong(body, "input", "resize", "method", to="lanczos")


@given(st.data())
def test_whatever_stands_in_a_signature_it_is_read_or_refused(data: st.DataObject) -> None:
    body = json.loads(foreign().encode())
    scalars = st.none() | st.booleans() | st.integers(-3, 1 << 70) | st.floats(allow_nan=False) | st.text(max_size=5)
    anything = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    )
    holder: Any = body["signature"]
    while isinstance(holder, dict | list) and holder:
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        if not isinstance(holder[key], dict | list) or not holder[key] or data.draw(st.booleans()):
            holder[key] = data.draw(anything)
            break
        holder = holder[key]
    try:
        read = Manifest.decode(json.dumps(body).encode())
    except BadManifest:
        return
    assert read.signature is not None
    assert read.signature.inputs


@pytest.mark.parametrize("name", DATATYPES)
def test_arrays_of_every_kind_are_packed_and_filled(name: str) -> None:
    array = (np.arange(12).reshape(3, 4) % 2).astype(DATATYPES[name])
    packed = Packed.of(array)
    np.testing.assert_array_equal(packed.filled(), array)
    assert (packed.datatype, datatype_of(array)) == (name, name)


@given(st.integers(1, 300), st.integers(1, 40))
def test_of_a_large_array_a_few_values_are_kept_and_found_again(size: int, most: int) -> None:
    array = np.arange(size, dtype=np.float32)
    packed = Packed.of(array, most=most)
    kept = packed.values()
    assert len(kept) == min(size, most)
    np.testing.assert_array_equal(packed.picked(array), kept)
    assert packed.filled().shape == (size,)


LIMIT = 50


@settings(max_examples=300)
@given(st.integers(0, 10 * LIMIT), st.integers(1, LIMIT), st.sampled_from(sorted(DATATYPES)))
def test_an_input_is_asked_as_it_was_packed_however_often_it_is(size: int, most: int, datatype: str) -> None:
    array = (np.arange(size) % 251 * 3).astype(DATATYPES[datatype])
    packed = Packed.repeated(array, most=most)
    asked = packed.filled()
    assert (asked.shape, asked.dtype) == (array.shape, array.dtype)
    assert len(packed.values()) == min(size, most)
    again = Packed.repeated(asked, most=most)
    assert again == packed
    np.testing.assert_array_equal(again.filled(), asked)
    if size <= most:
        np.testing.assert_array_equal(asked, array)


@given(st.integers(1, 10 * LIMIT))
def test_values_of_a_large_input_come_from_all_over_it(size: int) -> None:
    kept = Packed.repeated(np.arange(size, dtype=np.int64), most=LIMIT).values()
    assert len(np.unique(kept)) == len(kept)
    assert kept.max() >= size - 2 * LIMIT


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1, 1)])
def test_arrays_of_no_size_and_of_no_value_are_packed(shape: tuple[int, ...]) -> None:
    array = np.full(shape, 7, np.float32)
    for packed in (Packed.of(array), Packed.repeated(array, most=LIMIT)):
        assert packed.filled().shape == shape
        np.testing.assert_array_equal(packed.filled(), array)
        np.testing.assert_array_equal(packed.picked(array), packed.values())


def measured(name: str, value: float, *, higher: bool = False, metric: str = "rmse", accuracy: float = 0.0) -> Measured:
    worth = Metric(metric, value, higher) if metric else None
    return Measured(f"sha256:{name}", name, "onnxruntime", accuracy, 10, 1.0, 10, 100, metric=worth)


def test_the_best_is_the_best_by_its_metric() -> None:
    assert best_fit([measured("a", 2.0), measured("b", 1.0)], Budget()).name == "b"
    assert best_fit([measured("a", 2.0, higher=True), measured("b", 1.0, higher=True)], Budget()).name == "a"
    with pytest.raises(BadInput, match="are measured by accuracy and rmse"):
        best_fit([measured("a", 2.0), measured("b", 1.0, metric="", accuracy=0.5)], Budget())
