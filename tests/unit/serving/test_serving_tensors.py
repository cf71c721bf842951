"""Requests as they come: what is read, what is refused, and that nothing else ever happens."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadInput
from littoral.manifest import Manifest
from littoral_node.serving.results import InferenceResult, tensors_of
from littoral_node.serving.tensors import DATATYPES, MAX_BATCH, read
from tests.kit.models import SHAPE, artifact, images
from tests.kit.serving import request_of


@cache
def manifest() -> Manifest:
    with TemporaryDirectory() as folder:
        return artifact(Path(folder))


def refusal(body: Any, tail: memoryview | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        read(body, manifest(), tail)
    return str(caught.value)


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_every_number_type_is_read_flat_nested_and_in_binary_form(datatype: str) -> None:
    x = np.arange(32).reshape(2, *SHAPE)
    if datatype == "BOOL":
        x = x % 2
    flat, nested, binary = request_of(x, datatype), request_of(x, datatype), request_of(x, datatype)
    nested["inputs"][0]["data"] = x.tolist()
    data = x.astype(DATATYPES[datatype]).tobytes()
    del binary["inputs"][0]["data"]
    binary["inputs"][0]["parameters"] = {"binary_data_size": len(data)}
    for body, tail in ((flat, None), (nested, None), (binary, memoryview(data))):
        raw = read(body, manifest(), tail).raw
        assert raw.dtype == DATATYPES[datatype]
        np.testing.assert_array_equal(raw, x.astype(bool) if datatype == "BOOL" else x)


def wrong_requests() -> Iterator[tuple[str, Any]]:
    good = request_of(images(1))
    yield "body: must be a JSON object, is a list", []
    yield "inputs: must be a list with the tensor 'x', is missing", {}
    yield "inputs: must hold exactly one tensor, 'x', holds 0", {"inputs": []}
    yield "inputs: must hold exactly one tensor, 'x', holds 2", {"inputs": good["inputs"] * 2}
    yield "id: must be text, is a number", {**good, "id": 7}
    yield "parameters: must be an object, is a list", {**good, "parameters": [1]}
    yield "parameters.binary_data_output: must be true or false, is 1", {**good, "parameters": {"binary_data_output": 1}}
    yield "outputs: 5 must be a list of objects with a name", {**good, "outputs": 5}
    yield (
        "outputs: ['score'] must name outputs of this model, each once (it has logits and label)",
        {
            **good,
            "outputs": [{"name": "score"}],
        },
    )
    yield "outputs: ['label', 'label'] must name", {**good, "outputs": [{"name": "label"}] * 2}
    for field, value, said in (
        ("name", "y", "name: 'y', this model's input is 'x'"),
        ("datatype", "BYTES", "datatype: 'BYTES' is not taken (one of BOOL, UINT8"),
        ("datatype", ["UINT8"], "datatype: ['UINT8'] is not taken"),
        ("shape", [1, 16], f"shape: [1, 16], wanted [n, 1, 4, 4] with n from 1 to {MAX_BATCH}"),
        ("shape", [0, 1, 4, 4], "shape: [0, 1, 4, 4], wanted [n, 1, 4, 4]"),
        ("shape", [MAX_BATCH + 1, 1, 4, 4], "wanted [n, 1, 4, 4]"),
        ("shape", [], "shape: [], wanted"),
        ("shape", [True, 1, 4, 4], "must be a list of whole numbers"),
        ("shape", "1,1,4,4", "shape: '1,1,4,4' must be a list"),
        ("data", None, "data: must be a list of numbers, is missing or null"),
        ("data", [1] * 15, "data: holds 15 values, shape [1, 1, 4, 4] wants 16"),
        ("data", [], "data: holds 0 values"),
        ("data", [[1] * 8, [1] * 7], "data: cannot be read as UINT8"),
        ("data", [[1] * 2] * 8, "data: is nested as [8, 2], wanted [1, 1, 4, 4], or flat"),
        ("data", ["1"] * 16, "data: holds something else than numbers"),
        ("data", [None] * 16, "data: holds something else than numbers"),
        ("data", [2**70] * 16, "data: holds something else than numbers"),
        ("data", [256] * 16, "data: holds a value that UINT8 cannot hold (whole numbers, 0 to 255)"),
        ("data", [-1] * 16, "data: holds a value that UINT8 cannot hold"),
        ("data", [0.5] * 16, "data: holds a value that UINT8 cannot hold"),
        ("parameters", 3, "inputs[0].parameters: must be an object, is a number"),
    ):
        yield said, {"inputs": [{**good["inputs"][0], field: value}]}
    for datatype in ("FP16", "FP32"):
        yield f"holds a value that is too large for {datatype} (at most ", request_of(np.full((1, *SHAPE), 1e299), datatype)


@pytest.mark.parametrize(("said", "body"), list(wrong_requests()), ids=lambda value: value[:60] if isinstance(value, str) else "")
def test_what_is_wrong_is_named_with_what_was_wanted(said: str, body: Any) -> None:
    assert said in refusal(body)


def binary_body(size: Any, **more: Any) -> dict[str, Any]:
    return {
        "inputs": [{"name": "x", "shape": [1, *SHAPE], "datatype": "FP32", "parameters": {"binary_data_size": size}, **more}],
    }


def test_bytes_that_do_not_fit_the_shape_are_refused() -> None:
    whole = struct.pack("<16f", *range(16))
    assert "binary_data_size: 63, FP32 [1, 1, 4, 4] takes 64" in refusal(binary_body(63), memoryview(whole))
    assert "binary_data_size: True" in refusal(binary_body(True), memoryview(whole))
    assert "body: 63 bytes follow the JSON, the input takes 64" in refusal(binary_body(64), memoryview(whole[:-1]))
    assert "body: 65 bytes follow the JSON" in refusal(binary_body(64), memoryview(whole + b"x"))
    assert "body: 0 bytes follow the JSON" in refusal(binary_body(64))
    assert "one or the other" in refusal(binary_body(64, data=[0] * 16), memoryview(whole))
    assert "not finite as FP32" in refusal(binary_body(64), memoryview(struct.pack("<16f", *[float("nan")] * 16)))
    assert "no input has a parameter binary_data_size" in refusal(request_of(images(1)), memoryview(whole))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
tensor_fields = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("x") | json_values,
        "shape": st.just([1, *SHAPE]) | st.lists(st.integers(-2, 300), max_size=5) | json_values,
        "datatype": st.sampled_from(sorted(DATATYPES)) | json_values,
        "data": st.lists(st.integers(-300, 300) | st.floats() | st.booleans(), min_size=16, max_size=16)
        | st.lists(json_values, min_size=16, max_size=16)
        | json_values,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "x"]), json_values) | json_values,
    },
)
bodies = json_values | st.fixed_dictionaries(
    {"inputs": st.lists(tensor_fields, max_size=2) | json_values},
    optional={"id": json_values, "parameters": json_values, "outputs": json_values | st.lists(tensor_fields, max_size=3)},
)


@given(bodies, st.none() | st.binary(max_size=140).map(memoryview))
def test_whatever_comes_is_read_or_refused(body: Any, tail: memoryview | None) -> None:
    try:
        request = read(body, manifest(), tail)
    except BadInput as error:
        refused = str(error)
    else:
        assert request.raw.shape[1:] == SHAPE
        assert np.isfinite(request.raw).all()
        return
    assert 0 < len(refused) < 800


@given(st.integers(1, 5), st.permutations(["logits", "label"]), st.tuples(st.booleans(), st.booleans()), st.text(max_size=10))
def test_an_answer_reads_back_in_both_forms(count: int, names: list[str], binary: tuple[bool, bool], given_id: str) -> None:
    body = request_of(
        images(count),
        id=given_id,
        outputs=[{"name": n, "parameters": {"binary_data": b}} for n, b in zip(names, binary, strict=True)],
    )
    logits = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    request = read(body, manifest())
    encoded, head = InferenceResult("tiny", "v", request, tensors_of(manifest(), logits)).encode()
    answer = orjson.loads(encoded[:head])
    assert answer["id"] == given_id
    assert "parameters" not in answer
    tail = encoded[head:] if head is not None else b""
    found = {}
    for output in answer["outputs"]:
        kind = DATATYPES[output["datatype"]]
        if "data" in output:
            values = np.asarray(output["data"], kind)
        else:
            size = output["parameters"]["binary_data_size"]
            values, tail = np.frombuffer(tail[:size], kind), tail[size:]
        found[output["name"]] = values.reshape(output["shape"])
    assert list(found) == names
    assert tail == b""
    np.testing.assert_array_equal(found["logits"], logits)
    np.testing.assert_array_equal(found["label"], logits.argmax(axis=1))


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
@pytest.mark.parametrize("place", [0, 7, 15])
def test_large_values_are_taken_and_what_is_not_finite_is_refused(datatype: str, place: int) -> None:
    """In binary form behind a byte, so that no value lies where its size would have it."""
    kind = DATATYPES[datatype]
    x = np.zeros(16, kind)
    for value in (np.finfo(kind).max, -np.finfo(kind).max, np.nan, np.inf, -np.inf):
        x[place] = value
        body = binary_body(x.nbytes)
        body["inputs"][0]["datatype"] = datatype
        tail = memoryview(b"!" + x.tobytes())[1:]
        if np.isfinite(value):
            np.testing.assert_array_equal(read(body, manifest(), tail).raw.ravel(), x)
        else:
            assert f"inputs[0].data: holds a value that is not finite as {datatype}" in refusal(body, tail)


def test_a_manifest_with_another_input_asks_for_that() -> None:
    other = replace(manifest(), input=replace(manifest().input, name="pixels"))
    with pytest.raises(BadInput, match="'pixels'"):
        read(request_of(images(1)), other)
