"""Large requests: read in short steps to the same arrays as small ones, or refused in the same cases; and what they may hold."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadInput
from littoral.signature import DATATYPES
from littoral_node.serving import large
from littoral_node.serving.body_memory import UNCOUNTED_BYTES, BodyMemory
from littoral_node.serving.concurrency import TooManyRequests
from littoral_node.serving.large import SKELETON_BYTES, large_json
from littoral_node.serving.rest_requests import INLINE_BYTES
from tests.kit.models import images
from tests.kit.serving import MODEL, open_node, request_of, served


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few values are many slices."""
    monkeypatch.setattr(large, "_LONG", 1)
    monkeypatch.setattr(large, "_SLICE", 30)


def body_of(data: str, shape: list[int], datatype: str = "FP32", more: str = "") -> bytes:
    return f'{{"inputs": [{{"name": "x", "shape": {shape}, "datatype": "{datatype}", "data": {data}{more}}}]}}'.encode()


def data_in(body: bytes) -> Any:
    return large_json(body)["inputs"][0]["data"]


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.usefixtures("small_steps")
def test_every_number_type_is_read_flat_and_nested(datatype: str, indent: int | None) -> None:
    x = np.arange(24).reshape(2, 3, 1, 4)
    values = (x % 2).astype(bool) if datatype == "BOOL" else x
    for given_values in (values.tolist(), values.ravel().tolist(), (x % 2).tolist() if datatype == "BOOL" else values.tolist()):
        found = data_in(body_of(json.dumps(given_values, indent=indent), [2, 3, 1, 4], datatype, ', "later": "a}b"'))
        assert found.dtype == DATATYPES[datatype]
        np.testing.assert_array_equal(found, values)


def wrong() -> Iterator[tuple[str, list[int], str]]:
    for data in ("[1,2,3]", "[1,2,3,4,5]", "[[1,2],[3]]", "[[1,2,3],[4]]", "[[1,2,3,4]]", "[[[1,2],[3,4]]]", "[[1],[2],[3],[4]]"):
        yield data, [2, 2], "FP32"  # another shape
    for data in (
        "[1[2,3],4]",
        "[[1,2]3,4]",
        "[[1,2],[3,4]",
        "[[1,2],[3,4]]]",
        "[1,,3,4]",
        "[1,2,3,]",
        "[1 2,3,4]",
        "[[1,2][3,4]]",
    ):
        yield data, [2, 2], "FP32"  # no JSON
    for data in ("[1,2,3,null]", "[true,2,3,4]", "[1,2,3,1e999]", "[1,2,3,01]", "[1,2,3,0x1]", "[[1,2],[3,nan]]"):
        yield data, [2, 2], "FP32"  # no numbers
    yield "[1,2,3,256]", [2, 2], "UINT8"
    yield "[1,2,3,true]", [2, 2], "UINT8"
    yield "[1,2,3,-1]", [2, 2], "UINT8"
    yield "[1,2,3,0.5]", [2, 2], "INT64"
    yield "[0,1,0,7]", [2, 2], "BOOL"
    yield "[1,2,3,9223372036854775808]", [2, 2], "INT64"


@pytest.mark.parametrize(("data", "shape", "datatype"), list(wrong()))
@pytest.mark.usefixtures("small_steps")
def test_what_a_small_body_may_not_hold_a_large_one_may_not_either(data: str, shape: list[int], datatype: str) -> None:
    with pytest.raises(BadInput):
        large_json(body_of(data, shape, datatype))


@given(st.lists(st.sampled_from(["[", "]", ",", "1", "2.5", " ", "true", '"', "-"]), max_size=14))
def test_no_list_is_read_that_is_not_one(signs: list[str]) -> None:
    text = "[" + "".join(signs) + "]"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(large, "_LONG", 1)
        patched.setattr(large, "_SLICE", 3)
        try:
            found = data_in(body_of(text, [2, 2]))
        except (BadInput, KeyError, IndexError, TypeError):
            return
    if isinstance(found, np.ndarray):
        plain = np.asarray(orjson.loads(body_of(text, [2, 2]))["inputs"][0]["data"], np.float32)
        assert plain.shape in ((2, 2), (4,))
        np.testing.assert_array_equal(found, plain.reshape(2, 2))


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs":[' + b"[]," * 2_700_000 + b"[]]}",
        b'{"inputs":[' + b'{"data":[],"data":"x"},' * 300_000 + b"{}]}",
        b'{"inputs":"' + b"\\\\" * 4_000_000 + b'"}',
        b'{"inputs":"' + b'\\"' * 4_000_000 + b'"}',
        b'{"inputs":[{"data":' + b"[" * 8_000_000 + b"}]}",
        body_of("[" + "[]," * 2_700_000 + "[]]", [2_700_001, 1]),
        body_of("[" + "1" * 8_000_000 + "]", [1, 1]),
        body_of("[" + " " * 8_000_000 + "1]", [1, 1]),
        body_of("[1" + ",1" * 4_000_000 + "]", [1, 10**12]),
        body_of("[1" + ",1" * 4_000_000 + "]", [1] * 20_000),
    ],
    ids=["lists", "keys", "backslashes", "quotes", "deep", "nested", "one number", "spaces", "a huge shape", "a deep shape"],
)
def test_what_only_costs_time_is_refused_before_it_does(body: bytes) -> None:
    """Eight megabytes are looked at a few times, and never become as many objects."""
    tracemalloc.start()
    try:
        found: Any = large_json(body)
    except BadInput:
        found = None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is None or found["inputs"][0]["data"] == []  # the shape is complained of where all others are
    assert peak < 3 * len(body)


async def test_a_large_request_is_answered_as_a_small_one_is(tmp_path: Path) -> None:
    async with open_node(served(tmp_path, shape=(1, 64, 64))) as node:
        x = images(16, shape=(1, 64, 64))
        assert len(json.dumps(request_of(x))) > 3 * INLINE_BYTES
        together = await node.logits(x)
        np.testing.assert_allclose(together, np.concatenate([await node.logits(each[None]) for each in x]), rtol=1e-4, atol=1e-4)
        nested = request_of(x)
        nested["inputs"][0]["data"] = x.tolist()
        packed = await node.client.post(
            f"/v2/models/{MODEL}/infer",
            content=gzip.compress(json.dumps(nested).encode()),
            headers={"content-encoding": "gzip"},
        )
        assert packed.status_code == 200
        np.testing.assert_array_equal(np.float32(packed.json()["outputs"][0]["data"]), together.ravel())
        nested["inputs"][0]["data"][3][0][5] = [1]
        refused = await node.infer(nested)
        assert refused.status_code == 400
        assert "inputs[0].data" in refused.json()["error"]
        nothing = await node.client.post(f"/v2/models/{MODEL}/infer", content=b'{"inputs":[' + b"[]," * 100_000 + b"[]]}")
        assert nothing.status_code == 400
        assert str(SKELETON_BYTES) in nothing.json()["error"]
        assert node.server.body_memory.taken == 0


def test_room_is_shared_and_small_requests_need_none() -> None:
    memory = BodyMemory(1_000_000)
    held = memory.reserve(900_000 + UNCOUNTED_BYTES, 0)
    assert held == memory.taken == 900_000
    with pytest.raises(TooManyRequests):
        memory.reserve(200_000 + UNCOUNTED_BYTES, 0)
    assert memory.reserve(UNCOUNTED_BYTES, 0) == 0
    held = memory.reserve(950_000 + UNCOUNTED_BYTES, held)
    assert held == memory.taken == 950_000
    memory.release(held)
    assert memory.taken == 0


def test_memory_is_worth_giving_back_a_few_times_behind_a_peak() -> None:
    memory = BodyMemory()
    held = memory.reserve(20_000_000, 0)
    assert not memory.has_emptied()
    memory.release(held)
    assert [memory.has_emptied() for _ in range(6)] == [True] * 4 + [False] * 2
    memory.release(memory.reserve(200_000, 0))
    assert not memory.has_emptied()
