"""An answer that is infinite is the same over each transport, read by clients as they are; one that is not a number is none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc.aio as grpc_client
import tritonclient.http.aio as http_client
from tritonclient.utils import InferenceServerException

from littoral_node.telemetry.counting import RequestCounts
from tests.kit.foreign import logarithms
from tests.kit.serving import MODEL, Node, imported, open_grpc, open_node

Array = npt.NDArray[np.float32]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(imported(tmp_path, logarithms(), {"x": np.float32([[1, 2]])})) as opened:
        yield opened


async def asked(client: Any, kind: Any, x: Array, **how: bool) -> Array:
    given = kind.InferInput("x", list(x.shape), "FP32")
    given.set_data_from_numpy(x)
    answer = await client.infer(MODEL, [given], outputs=[kind.InferRequestedOutput("y", **how)])
    found: Array = answer.as_numpy("y")
    return found


@pytest.mark.parametrize("values", [3, 40_000], ids=["few", "in slices"])
async def test_minus_infinity_is_read_alike_over_each_transport(node: Node, values: int) -> None:
    x = np.float32([[0, 1, 2.5] * (values // 3 + 1)])
    with np.errstate(divide="ignore"):
        wanted = np.log(x)
    http = http_client.InferenceServerClient(f"127.0.0.1:{node.server.port}")
    async with open_grpc(node.service) as server, grpc_client.InferenceServerClient(f"127.0.0.1:{server.port}") as grpc:
        found = [
            await asked(http, http_client, x, binary_data=False),
            await asked(http, http_client, x, binary_data=True),
            await asked(grpc, grpc_client, x),
        ]
    await http.close()
    for each in found:
        assert each.dtype == np.float32
        np.testing.assert_allclose(each, wanted, rtol=1e-6)
        np.testing.assert_array_equal(each, found[0])


async def test_json_has_no_infinity_so_it_is_said_in_a_word(node: Node) -> None:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [0, 1, 3.4e38]}]}
    answer = await node.infer(body)
    assert b"null" not in answer.content

    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is no JSON")

    assert json.loads(answer.content, parse_constant=refuse)["outputs"][0]["data"] == [
        "-Infinity",
        0.0,
        pytest.approx(88.72, 1e-3),
    ]


async def test_what_is_not_a_number_is_the_models_failure_over_each_transport(node: Node) -> None:
    x, said = np.float32([[-1, 1]]), "answers y with values that are not numbers"
    http = http_client.InferenceServerClient(f"127.0.0.1:{node.server.port}")
    async with open_grpc(node.service) as server, grpc_client.InferenceServerClient(f"127.0.0.1:{server.port}") as grpc:
        for asking, status in (
            (asked(http, http_client, x, binary_data=False), "500"),
            (asked(http, http_client, x, binary_data=True), "500"),
            (asked(grpc, grpc_client, x), "StatusCode.INTERNAL"),
        ):
            with pytest.raises(InferenceServerException) as caught:
                await asking
            assert (caught.value.status(), said in caught.value.message()) == (status, True)
    await http.close()
    assert node.telemetry.counts(MODEL) == RequestCounts(3, 3)


async def test_a_client_may_not_send_what_it_may_be_sent(node: Node) -> None:
    for value in ("-Infinity", "NaN", None):
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [value, 1]}]}
        assert (await node.infer(body)).status_code == 400
