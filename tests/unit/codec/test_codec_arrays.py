"""Arrays are found in the files that hold them, and take fewer bytes than independent positions and values would."""

from __future__ import annotations

import io
import json
import math
import struct

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from littoral.codec import Undecodable, codebook, decode, encode, encode_files, plan
from littoral.codec.codebook import FOUR, NIBBLE, ONE, TWO
from littoral.codec.coder import Decoder, Encoder, FastDecoder
from littoral.codec.container import MAX_LANES, Reader
from littoral.codec.find import FLOAT, SIGNED, arrays_beside, arrays_in
from littoral.codec.ranks import Grid, code_ranks

Floats = npt.NDArray[np.float32]


def model(*arrays: onnx.TensorProto) -> bytes:
    """An ONNX file that holds arrays, the last of them in a Constant node."""
    node = helper.make_node("Constant", [], ["y"], value=arrays[-1])
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "g", [], outputs, list(arrays[:-1]))
    return bytes(helper.make_model(graph).SerializeToString())


def pixels(seed: int = 0, units: int = 60, side: int = 16, share: float = 0.06) -> Floats:
    """(units, side * side): each unit looks at one blob of an image, with weights of one sign, of eight values."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    table = np.zeros((units, side, side))
    for unit in table:
        row, column = rng.normal(side / 2, side / 6, 2)
        near = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8)
        unit[:] = (near + rng.normal(0, 0.05, (side, side))) * rng.choice([-1, 1])
    flat = table.reshape(units, -1)
    least = np.quantile(np.abs(flat), 1 - share)
    levels = np.rint(np.abs(flat) * 4).clip(1, 4)
    return np.where(np.abs(flat) >= least, np.sign(flat) * levels * 0.25, 0).astype(np.float32)


def entropy_bytes(table: Floats) -> float:
    """Of independent elements, positions and values, with the best code there is."""
    shares = np.unique(table, return_counts=True)[1] / table.size
    return float(-(shares * np.log2(shares)).sum() * table.size / 8)


def test_weights_that_lie_together_take_a_third_less_than_their_entropy() -> None:
    table = pixels()
    coded = encode(model(numpy_helper.from_array(table, "w")))
    assert len(coded) < 0.67 * entropy_bytes(table) + 110  # the graph and the plan
    assert len(coded) < 0.6 * len(zstandard.compress(table.tobytes(), 19))


def test_independent_weights_take_no_more_than_their_entropy_and_the_learning_of_it() -> None:
    rng = np.random.default_rng(1)
    table = (rng.integers(-3, 4, (80, 120)) * (rng.random((80, 120)) < 0.2) * 0.5).astype(np.float32)
    assert len(encode(model(numpy_helper.from_array(table, "w")))) < 1.04 * entropy_bytes(table) + 130


def test_sparse_floats_take_the_bytes_of_what_is_not_zero() -> None:
    rng = np.random.default_rng(2)
    table = np.where(rng.random((60, 150)) < 0.1, rng.normal(size=(60, 150)), 0).astype(np.float32)
    coded = encode(data := model(numpy_helper.from_array(table, "w")))
    assert decode(coded, limit=len(data)) == data
    assert len(coded) < 0.93 * len(zstandard.compress(data, 19))


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.INT8, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT16])
def test_narrow_arrays_of_onnx_come_back(kind: int) -> None:
    rng = np.random.default_rng(3)
    values = np.rint(rng.normal(size=(40, 30)) * 2).clip(-7, 7).astype(np.float32)
    tensor = onnx.TensorProto(dims=values.shape, data_type=kind, name="w")
    whole = values.astype(np.int8).ravel()
    tensor.raw_data = {
        TensorProto.INT4: ((whole[0::2] & 0xF) | (whole[1::2] & 0xF) << 4).astype(np.uint8).tobytes(),
        TensorProto.FLOAT16: values.astype("<f2").tobytes(),
    }.get(kind, whole.tobytes())
    data = model(tensor, numpy_helper.from_array(np.float32(1)))
    (_, found) = arrays_in(data)
    assert found.shape == (40, 30)
    coded = encode(data)
    assert decode(coded, limit=len(data)) == data
    assert len(coded) < len(zstandard.compress(data, 19))


def test_arrays_are_found_in_onnx_safetensors_and_numpys_format() -> None:
    table, bias = pixels(1, 8, 8), np.arange(8, dtype=np.int8)
    as_onnx = arrays_in(model(numpy_helper.from_array(table, "w"), numpy_helper.from_array(bias, "b")))
    assert [(a.shape, a.width, a.kind) for a in as_onnx] == [((8,), ONE, SIGNED), ((8, 64), FOUR, FLOAT)]
    head = json.dumps(
        {
            "__metadata__": {"a": "b"},
            "w": {"dtype": "F32", "shape": [8, 64], "data_offsets": [0, 2048]},
            "b": {"dtype": "I8", "shape": [8], "data_offsets": [2048, 2056]},
        }
    ).encode()
    as_safetensors = arrays_in(struct.pack("<Q", len(head)) + head + table.tobytes() + bias.tobytes())
    assert [(a.shape, a.width, a.offset) for a in as_safetensors] == [
        ((8, 64), FOUR, 8 + len(head)),
        ((8,), ONE, 8 + len(head) + 2048),
    ]
    place = io.BytesIO(b"words")
    place.seek(5)
    np.save(place, table)
    np.save(place, bias)
    assert [(a.shape, a.width) for a in arrays_in(place.getvalue())] == [((8, 64), FOUR), ((8,), ONE)]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_file_whatever_it_holds_stops_the_search(noise: bytes, at: int) -> None:
    data = model(numpy_helper.from_array(pixels(0, 4, 6), "w"), numpy_helper.from_array(np.float32(1)))
    for file in (noise, data[:at] + noise + data[at:], b"\x93NUMPY\x01\x00" + noise, struct.pack("<Q", 20) + b"{" + noise):
        ends = 0
        for array in arrays_in(file):
            assert ends <= array.offset <= array.offset + array.size <= len(file)
            ends = array.offset + array.size


def test_ncnns_weights_are_found_by_the_param_beside_them() -> None:
    conv, bias, dense = pixels(2, 6, 5), np.ones(6, np.float32), pixels(3, 10, 8)
    param = (
        b"7767517\n4 4\nInput in 0 1 x\nConvolution c 1 1 x y 0=6 1=5 5=1 6=150\nReLU r 1 1 y z\n"
        b"InnerProduct d 1 1 z out 0=10 1=0 2=640\n"
    )
    weights = struct.pack("<I", 0) + conv.tobytes() + bias.tobytes()
    weights += struct.pack("<I", 0x01306B47) + dense.astype("<f2").tobytes()
    found = arrays_beside(param, weights)
    assert [(a.shape, a.width) for a in found] == [((6, 1, 5, 5), FOUR), ((6,), FOUR), ((10, 64), TWO)]
    coded = encode_files({"m.param": param, "m.bin": weights})
    assert decode(coded["m.bin"], limit=len(weights)) == weights
    assert decode(coded["m.param"], limit=len(param)) == param
    assert arrays_beside(param.replace(b"ReLU r", b"Strange s"), weights) == found[:2]
    assert arrays_beside(param, weights[:500]) == []
    assert arrays_beside(b"\xff", weights) == []


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_ranks_come_back_through_both_decoders_whatever_their_grid(data: st.DataObject) -> None:
    steps, lanes = data.draw(st.integers(1, 16)), data.draw(st.integers(1, 20))
    below, above = data.draw(st.integers(0, 140)), data.draw(st.integers(0, 115))
    grid = Grid(
        steps,
        lanes,
        data.draw(st.integers(0, steps // 2)),
        data.draw(st.integers(0, steps)),
        data.draw(st.integers(1, min(4, lanes))),
        below,
        above,
        data.draw(st.integers(-96, 96)),
        data.draw(st.integers(0, 15)),
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    ranks = rng.integers(-below, above + 1, (steps, lanes)) * (rng.random((steps, lanes)) < rng.random())
    encoder = Encoder()
    code_ranks(encoder, grid, ranks)
    coded = encoder.finish()
    for kind in (Decoder, FastDecoder):
        assert (code_ranks(kind(coded), grid, None) == ranks).all()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 255), st.integers(0, 255))
def test_garbage_gives_ranks_of_the_codebook_alone(data: bytes, below: int, above: int) -> None:
    above = min(above, 255 - below)
    grid = Grid(6, 7, 2, 0, 2, below, above, 0, 7)
    try:
        ranks = code_ranks(FastDecoder(data), grid, None)
    except Undecodable:
        return
    assert -below <= ranks.min() <= ranks.max() <= above


def test_a_plan_that_asks_for_more_than_its_output_is_worth_is_refused() -> None:
    def read(grid: Grid, total: int, count: int = 1) -> None:
        part = plan.Ranks(grid, FOUR, 0, np.array([0, 1], "<u4"), False)
        data = plan.write([(0, part)] * count)
        plan.read(Reader(io.BytesIO(data), 0, len(data)), total)

    read(Grid(100, 10, 0, 0, 1, 0, 1, 0, 7), 4000)
    with pytest.raises(Undecodable, match="more than the 3999 bytes"):
        read(Grid(100, 10, 0, 0, 1, 0, 1, 0, 7), 3999)
    with pytest.raises(Undecodable, match="more than"):  # a vector for each element: nine thousand of them
        read(Grid(9000, 1, 0, 0, 1, 0, 1, 0, 7), 40_000)
    with pytest.raises(Undecodable, match="more than"):
        read(Grid(100, 3, 0, 0, 3, 0, 1, 0, 7), 40_000, 30)
    with pytest.raises(Undecodable, match="lanes is over"):
        read(Grid(1, MAX_LANES + 1, 0, 0, 1, 0, 1, 0, 7), 10**6)
    with pytest.raises(Undecodable, match="an array of 0 x 4"):
        read(Grid(0, 4, 0, 0, 1, 0, 1, 0, 7), 10**6)
    with pytest.raises(Undecodable, match="pitch is over 5"):
        read(Grid(10, 4, 6, 0, 1, 0, 1, 0, 7), 10**6)
    with pytest.raises(Undecodable, match="5 groups of 4 lanes"):
        read(Grid(10, 4, 0, 0, 5, 0, 1, 0, 7), 10**6)


@settings(deadline=None)
@given(st.data())
def test_a_codebook_comes_back_from_its_shortest_form(data: st.DataObject) -> None:
    width = data.draw(st.sampled_from([NIBBLE, ONE, TWO, FOUR]))
    most = 15 if width == NIBBLE else (1 << 8 * codebook.DTYPES[width].itemsize) - 1
    values = np.array(data.draw(st.lists(st.integers(0, most), min_size=1, max_size=40, unique=True)), codebook.DTYPES[width])
    form, written = codebook.write(values, width)
    assert len(written) <= values.nbytes
    again = codebook.read(Reader(io.BytesIO(written), 0, len(written)), form, len(values), width)
    assert again.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("values", "form", "size"),
    [
        (np.arange(-4, 4), codebook.SCALED_RANGE, 5),
        (np.array([-4, -2, -1, 0, 1, 2, 4]), codebook.SCALED, 11),
        (np.array([-1.5, 0.25, 3.0, math.inf]), codebook.HALF, 8),
        (np.array([1e30, 3e-30, -7e-12]).astype("<f4").view("<u4") >> 16 << 16, codebook.BRAIN, 6),
        (np.array([0.1, 0.23, 0.7]), codebook.RAW, 12),
    ],
)
def test_a_codebook_takes_the_shortest_form_that_is_exact(values: np.ndarray, form: int, size: int) -> None:  # type: ignore[type-arg]
    bits = values if values.dtype == np.uint32 else (values * np.float32(1 if values.dtype == float else 0.1)).astype("<f4")
    assert [codebook.write(bits.view("<u4"), FOUR)][0][0] == form
    assert len(codebook.write(bits.view("<u4"), FOUR)[1]) == size
