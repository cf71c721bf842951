"""Whose fault it is that a request is not answered: the client's is counted apart from the model's, by code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import numpy as np
import pytest
from onnx import TensorProto, helper

from littoral.errors import RuntimeFailure
from littoral.inference.v2 import inference_pb2 as pb
from littoral_node.runtimes.ended import BadValues
from littoral_node.serving.grpc_server import SERVICE
from littoral_node.telemetry.counting import RequestCounts
from tests.kit.foreign import made, tokens
from tests.kit.models import images
from tests.kit.serving import MODEL, Node, imported, open_grpc, open_node, request_of, served


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(imported(tmp_path, tokens(), {"ids": np.int64([[1, 2]])})) as opened:
        yield opened


def ids(*words: int) -> dict[str, object]:
    return {"inputs": [{"name": "ids", "datatype": "INT64", "shape": [1, len(words)], "data": list(words)}]}


async def test_an_id_that_is_not_in_the_vocabulary_is_the_clients_fault(node: Node) -> None:
    assert (await node.infer(ids(3, 5, 19))).status_code == 200
    for _ in range(3):
        answer = await node.infer(ids(3, 99))
        assert answer.status_code == 422
        assert "idx=99" in answer.json()["error"]
    assert (await node.infer({"inputs": []})).status_code == 400
    assert node.telemetry.counts(MODEL) == RequestCounts(1, 0)
    assert node.telemetry.totals()[MODEL].refused == {"bad-values": 3, "bad-input": 1}
    assert (await node.infer(ids(3, 5, 19))).status_code == 200


async def test_over_grpc_it_is_an_invalid_argument_and_counted_alike(node: Node) -> None:
    message = pb.ModelInferRequest(model_name=MODEL, raw_input_contents=[np.int64([[99]]).tobytes()])
    message.inputs.add(name="ids", datatype="INT64", shape=[1, 1])
    async with open_grpc(node.service) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        ask = channel.unary_unary(f"/{SERVICE}/ModelInfer", pb.ModelInferRequest.SerializeToString)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(message)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert node.telemetry.counts(MODEL) == RequestCounts(0, 0)
    assert node.telemetry.totals()[MODEL].refused == {"bad-values": 1}


async def test_metrics_tell_refusals_by_code(tmp_path: Path) -> None:
    async with open_node(served(tmp_path), max_body_bytes=2_000) as node:
        assert (await node.infer({"inputs": []})).status_code == 400
        assert (await node.client.post(f"/v2/models/{MODEL}/infer", content=b"{")).status_code == 400
        assert (await node.client.post(f"/v2/models/{MODEL}/infer", content=bytes(3_000))).status_code == 413
        assert (await node.infer(request_of(images(1)), "other")).status_code == 404
        text = (await node.client.get("/metrics")).text
    assert f'littoral_inference_refused_total{{code="bad-input",model="{MODEL}"}} 2.0' in text
    assert f'littoral_inference_refused_total{{code="too-large",model="{MODEL}"}} 1.0' in text
    assert 'model="other"' not in text  # a name that a client makes up makes no series


async def test_sizes_that_a_client_chooses_and_that_do_not_go_together_are_its_fault_and_a_batch_that_fails_the_models(
    tmp_path: Path,
) -> None:
    add = made(
        [helper.make_node("Add", ["x", "three"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", "any"])],
        [("y", TensorProto.FLOAT, ["n", "any"])],
        [("three", np.ones((1, 3), np.float32))],
    )
    for_one = made(
        [helper.make_node("Reshape", ["x", "one"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", 3])],
        [("y", TensorProto.FLOAT, ["n", 3])],
        [("one", np.int64([1, 3]))],
    )
    feeds = {"x": np.ones((1, 3), np.float32)}
    chosen, fixed = imported(tmp_path / "a", add, feeds), imported(tmp_path / "b", for_one, feeds)
    with pytest.raises(BadValues):
        chosen.model.run({"x": np.ones((1, 4), np.float32)})
    with pytest.raises(RuntimeFailure) as caught:
        fixed.model.run({"x": np.ones((2, 3), np.float32)})
    assert not isinstance(caught.value, BadValues)
