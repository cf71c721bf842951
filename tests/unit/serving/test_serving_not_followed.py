"""What a client asks for and would not get is refused, over both transports; an answer says only what the node has to say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest

from littoral.inference.v2 import inference_pb2 as pb
from littoral_node.serving.access import is_here
from littoral_node.serving.grpc_server import SERVICE
from tests.kit.models import SHAPE, images
from tests.kit.serving import MODEL, Node, open_grpc, open_node, request_of, served


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(served(tmp_path)) as opened:
        yield opened


ASKED = [
    ("parameters", "sequence_id", 7, "each request is answered by itself"),
    ("parameters", "sequence_start", True, "each request is answered by itself"),
    ("parameters", "priority", 1, "in the order in which they come"),
    ("parameters", "timeout", 1_000, "closes its connection"),
    ("parameters", "confidence", 9, "leave it out"),
    ("outputs", "classification", 2, "a client sorts them"),
    ("outputs", "shared_memory_region", "r", "shared memory is not here"),
    ("inputs", "shared_memory_region", "r", "shared memory is not here"),
    ("inputs", "shared_memory_byte_size", 16, "shared memory is not here"),
    ("inputs", "content_type", "base64", "leave it out"),
]


@pytest.mark.parametrize(("where", "name", "value", "said"), ASKED)
async def test_it_is_refused_over_rest(node: Node, where: str, name: str, value: Any, said: str) -> None:
    body = request_of(images(1), outputs=[{"name": "label"}])
    if where == "parameters":
        body["parameters"] = {name: value}
    else:
        body[where][0]["parameters"] = {name: value}
    if name.startswith("shared") and where == "inputs":
        del body["inputs"][0]["data"]
    answer = await node.infer(body)
    assert answer.status_code == 400
    assert name in answer.json()["error"]
    assert said in answer.json()["hint"]


@pytest.mark.parametrize(("where", "name", "value", "said"), ASKED)
async def test_it_is_refused_over_grpc(node: Node, where: str, name: str, value: Any, said: str) -> None:
    message = pb.ModelInferRequest(model_name=MODEL, raw_input_contents=[images(1).tobytes()])
    tensor = message.inputs.add(name="x", datatype="UINT8", shape=(1, *SHAPE))
    output = message.outputs.add(name="label")
    holder = {"parameters": message, "inputs": tensor, "outputs": output}[where]
    kind = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
    setattr(holder.parameters[name], kind, value)
    async with open_grpc(node.service) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        ask = channel.unary_unary(f"/{SERVICE}/ModelInfer", pb.ModelInferRequest.SerializeToString)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(message)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert name in str(caught.value.details())
    assert said in str(caught.value.details())


async def test_what_asks_for_nothing_is_no_harm(node: Node) -> None:
    body = request_of(images(1), parameters={"sequence_id": 0, "priority": 0, "timeout": 0, "binary_data_output": False})
    body["inputs"][0]["parameters"] = {"content_type": "np"}
    answer = await node.infer(body)
    assert answer.status_code == 200
    assert "parameters" not in answer.json()


@pytest.mark.parametrize(
    ("datatype", "data"),
    [("UINT8", [True] * 16), ("UINT8", [1] * 15 + [True]), ("FP32", [False] + [0.5] * 15), ("INT64", [[[[True] * 4] * 4]])],
)
async def test_true_is_no_number(node: Node, datatype: str, data: Any) -> None:
    body = request_of(images(1), datatype)
    body["inputs"][0]["data"] = data
    answer = await node.infer(body)
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        f"inputs[0].data: holds true or false, which {datatype} cannot hold",
    )


@pytest.mark.parametrize("data", [[7] * 16, [0.5] * 16, [-1] * 16])
async def test_a_truth_is_0_or_1(node: Node, data: list[float]) -> None:
    body = request_of(images(1), "BOOL")
    body["inputs"][0]["data"] = data
    assert (await node.infer(body)).status_code == 400
    body["inputs"][0]["data"] = [True, 0] * 8
    assert (await node.infer(body)).status_code == 200


async def test_bytes_of_truths_and_a_size_are_what_they_say(node: Node) -> None:
    for size, content, status in ((16, b"\1\0" * 8, 200), (16, b"\7\0" * 8, 400), (16.0, b"\1\0" * 8, 400)):
        tensor = {"name": "x", "datatype": "BOOL", "shape": [1, *SHAPE], "parameters": {"binary_data_size": size}}
        head = node.client.build_request("POST", "/", json={"inputs": [tensor]}).content
        answer = await node.client.post(
            f"/v2/models/{MODEL}/infer", content=head + content, headers={"inference-header-content-length": str(len(head))}
        )
        assert answer.status_code == status, size


async def test_a_model_is_loaded_as_its_release_says(node: Node) -> None:
    for what in ("load", "unload"):
        answer = await node.client.post(f"/v2/repository/models/{MODEL}/{what}", json={"parameters": {"config": "{}"}})
        assert (answer.status_code, "config" in answer.json()["error"]) == (400, True)
    answer = await node.client.post(f"/v2/repository/models/{MODEL}/unload", json={"parameters": {"unload_dependents": False}})
    assert answer.status_code == 403  # as before: this server has no repository


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "LOCALHOST.:1"}, 200),
        ({"host": "node.localhost:8080"}, 200),
        ({"host": "127.9.9.9:8080"}, 200),
        ({"host": "[::1]:8080"}, 200),
        ({"host": "evil.example"}, 421),
        ({"host": ""}, 421),
        ({"host": "localhost.evil.example"}, 421),
        ({"host": "8.8.8.8"}, 421),
        ({"host": "0.0.0.0:8080"}, 421),
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "http://[::1]:3000"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "https://localhost.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "Cross-Site", "origin": "http://localhost"}, 403),
    ],
    ids=str,
)
async def test_on_loopback_pages_from_elsewhere_are_kept_out(node: Node, headers: dict[str, str], status: int) -> None:
    for method, path in (("GET", "/v2/health/live"), ("GET", "/metrics"), ("POST", f"/v2/repository/models/{MODEL}/unload")):
        answer = await node.client.request(method, path, headers={**headers, "content-type": "text/plain"})
        assert answer.status_code == (status if method == "GET" or status != 200 else 403)  # nothing can be unloaded here


def test_names_are_this_machines_or_not() -> None:
    assert np.all([is_here(name) for name in ("localhost", "127.0.0.1", "[::1]:80", "a.localhost")])
    assert not np.any(
        [is_here(name) for name in ("", "::", "0.0.0.0", "[::]", "224.0.0.1", "localhost.example", "127.0.0.1.example")]
    )
