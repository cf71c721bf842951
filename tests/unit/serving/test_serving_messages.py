"""What comes as a gRPC message means the same whichever way it is read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadInput
from littoral.inference.v2 import inference_pb2 as pb
from littoral.manifest import Manifest
from littoral.signature import DATATYPES
from littoral_node.serving import messages
from littoral_node.serving.messages import json_of, large, request_of, too_many
from littoral_node.serving.tensors import MAX_BATCH, Request, read
from tests.kit.models import SHAPE, artifact, images

ITEM = {name: kind.itemsize for name, kind in DATATYPES.items()}


@cache
def manifest() -> Manifest:
    with TemporaryDirectory() as folder:
        return artifact(Path(folder))


@st.composite
def requests(draw: st.DrawFn) -> pb.ModelInferRequest:
    """Mostly right, and then wrong in every way."""
    request = pb.ModelInferRequest(id=draw(st.sampled_from(["", "mine"])))
    for _ in range(draw(st.sampled_from([1, 1, 1, 0, 2]))):
        datatype = draw(st.sampled_from([*DATATYPES, "BYTES", ""]))
        shape = draw(
            st.sampled_from([(1, *SHAPE), (2, *SHAPE), (0, *SHAPE), (-1, *SHAPE), (MAX_BATCH + 1, *SHAPE), SHAPE, (), (1, 16)])
        )
        tensor = request.inputs.add(name=draw(st.sampled_from(["x", "x", "y"])), datatype=datatype, shape=shape)
        if draw(st.booleans()):
            tensor.parameters["binary_data_size"].int64_param = 5
        if draw(st.sampled_from([False, False, False, True])):
            tensor.contents.fp32_contents.extend([1.0] * 16)
        size = max(0, int(np.prod(shape))) * ITEM.get(datatype, 1) + draw(st.sampled_from([0, 0, 0, 1, -1]))
        if draw(st.sampled_from([True, True, True, False])):
            request.raw_input_contents.append(draw(st.sampled_from([b"\0", b"\1", b"\xff"])) * max(0, size))
    if draw(st.sampled_from([False, False, True])):
        request.outputs.add(name=draw(st.sampled_from(["label", "logits", "score"])))
    if draw(st.sampled_from([False, False, True])):
        request.parameters["trace"].string_param = "abc"
    return request


def told(reading: Callable[[], Request]) -> tuple[object, ...] | str:
    try:
        request = reading()
    except BadInput as error:
        return str(error)
    raw = request.raw
    return (*request.inputs, raw.shape, raw.dtype, raw.tobytes(), request.outputs, request.id)


def by_way_of_json(request: pb.ModelInferRequest) -> Request:
    body, tail = json_of(request)
    return read(body, manifest(), tail)


@given(requests())
def test_a_message_is_read_as_its_json_would_be(request: pb.ModelInferRequest) -> None:
    assert told(lambda: request_of(request, manifest())) == told(lambda: by_way_of_json(request))


def test_the_usual_message_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "json_of", None)
    x = images(3)
    request = pb.ModelInferRequest(raw_input_contents=[x.tobytes()])
    request.inputs.add(name="x", datatype="UINT8", shape=x.shape)
    found = request_of(request, manifest())
    np.testing.assert_array_equal(found.raw, x)
    assert found.outputs == (("logits", False), ("label", False))


def test_a_message_of_more_fields_than_a_request_needs_is_not_read() -> None:
    """Two bytes a tensor: eight megabytes of them would take four hundred."""
    for bomb in (
        b"\x2a\x00" * 1_000_000,  # inputs
        b"\x32\x00" * 1_000_000,  # outputs
        pb.ModelInferRequest(model_name="x" * 99).SerializeToString() + b"\x22\x02\x0a\x00" * 500_000,  # parameters
        b"\x2a\x90\x4e" + b"\x22\x00" * 5_000,  # parameters of one input
        b"\x2a\x93\x4e\x2a\x90\x4e" + b"\x42\x00" * 5_000,  # texts in one input's contents
    ):
        assert too_many(bomb)
        with pytest.raises(BadInput, match="fields"):
            large(bomb)
    request = pb.ModelInferRequest(raw_input_contents=[bytes(1_000_000)] * 30)
    for i in range(30):
        tensor = request.inputs.add(name=f"x{i}", datatype="UINT8", shape=[1_000_000])
        tensor.parameters["content_type"].string_param = "np"
    assert not too_many(request.SerializeToString())


@given(st.binary(max_size=300))
def test_whatever_comes_as_a_message_is_read_or_refused(data: bytes) -> None:
    assert not too_many(data)
    with contextlib.suppress(BadInput):  # and nothing else
        large(data)


@pytest.mark.parametrize(
    ("datatype", "field"), [("FP32", "fp32_contents"), ("INT8", "int_contents"), ("UINT64", "uint64_contents")]
)
def test_typed_values_are_read_in_slices(datatype: str, field: str) -> None:
    request = pb.ModelInferRequest()
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[50_000])
    values = [i % 100 for i in range(50_000)]
    getattr(tensor.contents, field).extend(values)
    body, tail = json_of(request)
    assert tail is not None
    np.testing.assert_array_equal(np.frombuffer(tail, DATATYPES[datatype]), values)
    assert body["inputs"][0]["parameters"] == {"binary_data_size": len(tail)}
    if datatype == "INT8":
        tensor.contents.int_contents[49_999] = 200
        with pytest.raises(BadInput, match="INT8 cannot hold"):
            json_of(request)
