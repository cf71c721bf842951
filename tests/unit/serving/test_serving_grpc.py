"""Open Inference Protocol v2 over gRPC, asked by an unmodified tritonclient over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc.aio as triton
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from tritonclient.grpc import service_pb2 as published
from tritonclient.utils import InferenceServerException

from littoral.errors import Unavailable
from littoral.inference.v2 import inference_pb2 as ours
from littoral_node.serving import grpc_server
from littoral_node.serving.body_memory import BodyMemory
from littoral_node.serving.grpc_server import MOST_SLOW, SERVICE, GrpcServer
from littoral_node.serving.service import Service
from littoral_node.telemetry.counting import TelemetryWindows
from tests.kit.models import CLASSES, SHAPE, images, logits_of, weights
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import MODEL, open_grpc, open_node, served, slots_with

INFER = f"/{SERVICE}/ModelInfer"


@asynccontextmanager
async def client_of(server: GrpcServer) -> AsyncIterator[Any]:
    async with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Any]:
    async with open_grpc(Service(slots_with(served(tmp_path)), TelemetryWindows())) as server, client_of(server) as opened:
        yield opened


def tensor(x: npt.NDArray[Any], datatype: str = "UINT8", name: str = "x") -> Any:
    given = triton.InferInput(name, list(x.shape), datatype)
    given.set_data_from_numpy(x)
    return given


async def refused(asked: Any) -> tuple[str, str]:
    """(status, words)"""
    with pytest.raises((InferenceServerException, grpc.aio.AioRpcError)) as caught:
        await asked
    error = caught.value
    if isinstance(error, grpc.aio.AioRpcError):
        return str(error.code()), error.details() or ""
    return str(error.status()), error.message()


def fields(descriptor: Descriptor) -> dict[str, tuple[int, int, bool, str | None]]:
    """What decides how a message looks on the wire, by field: number, type, repeated or not, and which message."""
    kinds: Callable[[FieldDescriptor], str | None] = lambda f: f.message_type.name if f.message_type else None  # noqa: E731
    return {f.name: (f.number, f.type, f.is_repeated, kinds(f)) for f in descriptor.fields}


def test_every_message_is_the_published_one() -> None:
    def same(own: Descriptor, theirs: Descriptor) -> int:
        assert fields(own) == fields(theirs), own.full_name
        return 1 + sum(same(nested, theirs.nested_types_by_name[nested.name]) for nested in own.nested_types)

    messages = ours.DESCRIPTOR.message_types_by_name
    compared = sum(same(own, published.DESCRIPTOR.message_types_by_name[name]) for name, own in messages.items())
    assert compared > 30
    theirs = published.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert theirs.full_name == SERVICE
    for method in ours.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        other = theirs.methods_by_name[method.name]
        assert (method.input_type.name, method.output_type.name) == (other.input_type.name, other.output_type.name)


async def test_the_server_says_what_it_is_and_what_it_serves(client: Any) -> None:
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready(MODEL)
    assert await client.is_model_ready(MODEL, "seed-0")
    assert not await client.is_model_ready(MODEL, "seed-1")
    assert not await client.is_model_ready("other")
    assert (await client.get_server_metadata()).name == "littoral-node"
    about = await client.get_model_metadata(MODEL, as_json=True)
    assert about["inputs"] == [{"name": "x", "datatype": "UINT8", "shape": ["-1", *map(str, SHAPE)]}]
    assert [(output["name"], output["datatype"]) for output in about["outputs"]] == [("logits", "FP32"), ("label", "INT64")]
    [model] = (await client.get_model_repository_index()).models
    assert (model.name, model.version, model.state) == (MODEL, "seed-0", "READY")


@pytest.mark.parametrize("count", [1, 5])
async def test_an_inference(client: Any, count: int) -> None:
    x = images(count)
    answer = await client.infer(MODEL, [tensor(x)], request_id="mine")
    expected = logits_of(x, weights())
    np.testing.assert_allclose(answer.as_numpy("logits"), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(answer.as_numpy("label"), expected.argmax(1))
    response = answer.get_response()
    assert (response.id, response.model_version, dict(response.parameters)) == ("mine", "seed-0", {})
    chosen = await client.infer(MODEL, [tensor(x)], outputs=[triton.InferRequestedOutput("label")])
    assert [output.name for output in chosen.get_response().outputs] == ["label"]


async def test_values_in_typed_fields(tmp_path: Path) -> None:
    x = images(2)
    async with (
        open_grpc(Service(slots_with(served(tmp_path)), TelemetryWindows())) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        infer = channel.unary_unary(INFER, lambda m: m.SerializeToString(), published.ModelInferResponse.FromString)
        for datatype, field in (("UINT8", "uint_contents"), ("INT64", "int64_contents"), ("FP32", "fp32_contents"),
                                ("FP64", "fp64_contents"), ("INT32", "int_contents"), ("UINT64", "uint64_contents")):  # fmt: skip
            request = published.ModelInferRequest(model_name=MODEL)
            given = request.inputs.add(name="x", datatype=datatype, shape=x.shape)
            getattr(given.contents, field).extend(x.ravel().tolist())
            response = await infer(request)
            logits = np.frombuffer(response.raw_output_contents[0], "<f4").reshape(2, CLASSES)
            np.testing.assert_allclose(logits, logits_of(x, weights()), rtol=1e-5, atol=1e-5)
        given.contents.int_contents.append(1)
        status, words = await refused(infer(request))
        assert status.endswith("INVALID_ARGUMENT")
        assert "int_contents" in words
        del request.inputs[:]
        given = request.inputs.add(name="x", datatype="UINT8", shape=x.shape)
        given.contents.uint_contents.extend([256] * x.size)
        assert "cannot hold" in (await refused(infer(request)))[1]
        given.contents.uint_contents[:] = [1, 2]
        assert "takes 32" in (await refused(infer(request)))[1]


def wrong_requests() -> list[Any]:
    x = images(1)
    spoilt = np.full((1, *SHAPE), np.nan, np.float32)
    cut = tensor(x[:, :, :3])
    cut.set_shape(x.shape)  # a client that does not hold to its own shape
    return [
        pytest.param(tensor(x.reshape(1, 1, 2, 8)), "inputs[0].shape", id="shape"),
        pytest.param(tensor(x, name="y"), "inputs[0].name", id="name"),
        pytest.param(tensor(np.array([b"a"], np.object_), "BYTES"), "inputs[0].datatype", id="datatype"),
        pytest.param(tensor(spoilt, "FP32"), "not finite", id="nan"),
        pytest.param(cut, "raw_input_contents[0]: 12 bytes", id="truncated"),
        pytest.param(tensor(np.zeros((0, *SHAPE), np.uint8)), "inputs[0].shape", id="no example"),
    ]


@pytest.mark.parametrize(("given", "said"), wrong_requests())
async def test_a_wrong_request_is_refused_by_name_and_harms_nobody(client: Any, given: Any, said: str) -> None:
    status, words = await refused(client.infer(MODEL, [given]))
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert said in words
    assert (await client.infer(MODEL, [tensor(images(1))])).as_numpy("label").shape == (1,)


async def test_what_is_not_there_is_not_found(client: Any) -> None:
    for asked in (client.infer("other", [tensor(images(1))]), client.infer(MODEL, [tensor(images(1))], model_version="old"),
                  client.get_model_metadata("other")):  # fmt: skip
        status, words = await refused(asked)
        assert status == "StatusCode.NOT_FOUND"
        assert "served" in words
    status, words = await refused(client.infer(MODEL, [tensor(images(1))], outputs=[triton.InferRequestedOutput("scores")]))
    assert (status, "scores" in words) == ("StatusCode.INVALID_ARGUMENT", True)


async def test_a_message_over_the_limit_is_refused(tmp_path: Path) -> None:
    async with (
        open_grpc(Service(slots_with(served(tmp_path)), TelemetryWindows()), max_body_bytes=1_000) as server,
        client_of(server) as client,
    ):
        status, _ = await refused(client.infer(MODEL, [tensor(np.zeros((100_000, *SHAPE), np.uint8))]))
        assert status == "StatusCode.RESOURCE_EXHAUSTED"
        assert await client.is_model_ready(MODEL)


async def test_more_requests_than_it_takes_are_told_to_come_again_and_one_that_does_not_come_gives_its_place_back(
    tmp_path: Path,
) -> None:
    service = Service(slots_with(served(tmp_path)), TelemetryWindows(), max_in_flight=1)
    async with (
        open_grpc(service, body_s=1.0) as server,
        client_of(server) as client,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        slow = channel.stream_unary(INFER)()  # says that it asks, and sends nothing
        await slow.wait_for_connection()
        status, words = "", ""
        while status != "StatusCode.RESOURCE_EXHAUSTED":  # until the slow one has its place
            try:
                await client.infer(MODEL, [tensor(images(1))])
            except InferenceServerException as error:
                status, words = str(error.status()), error.message()
        assert "in flight" in words
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await slow
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "did not come" in (caught.value.details() or "")
        assert (await client.infer(MODEL, [tensor(images(1))])).as_numpy("label").shape == (1,)


async def test_a_client_that_goes_away_harms_nobody(client: Any, tmp_path: Path) -> None:
    asked = [asyncio.ensure_future(client.infer(MODEL, [tensor(images(200))])) for _ in range(20)]
    await asyncio.sleep(0)
    for one in asked[::2]:
        one.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(not isinstance(answer, BaseException) for answer in answers) >= 10
    assert await client.is_model_ready(MODEL)


async def test_a_port_in_use_is_named_with_the_flag_that_changes_it(tmp_path: Path) -> None:
    service = Service(slots_with(served(tmp_path)), TelemetryWindows())
    async with open_grpc(service) as server:
        with pytest.raises(Unavailable, match=rf"127.0.0.1:{server.port}.*--grpc"):
            await GrpcServer(service, "127.0.0.1", server.port).start()


async def test_large_messages_share_the_memory_and_are_answered_as_small_ones(tmp_path: Path) -> None:
    shape = (1, 64, 64)
    x = images(40, shape=shape)
    async with open_node(served(tmp_path, shape=shape)) as node:
        wanted = np.concatenate([await node.logits(x[i : i + 4]) for i in range(0, 40, 4)])
        for memory, fits in ((BodyMemory(), True), (BodyMemory(1_000), False)):
            async with open_grpc(node.service, body_memory=memory) as server, client_of(server) as client:
                asked = client.infer(MODEL, [tensor(x)])
                if fits:
                    np.testing.assert_allclose((await asked).as_numpy("logits"), wanted, rtol=1e-4, atol=1e-4)
                else:
                    code, said = await refused(asked)
                    assert (code, "of memory, at most 1000" in said) == ("StatusCode.RESOURCE_EXHAUSTED", True)
                assert (await client.infer(MODEL, [tensor(x[:1])])).as_numpy("label").shape == (1,)
                assert memory.taken == 0


async def test_only_a_few_messages_that_take_long_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "SLOW_S", 0.05)
    async with (
        open_node(served(tmp_path)) as node,
        open_grpc(node.service) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        ask = channel.stream_unary(f"/{SERVICE}/ModelInfer")
        silent = [ask() for _ in range(MOST_SLOW + 3)]
        codes = [asyncio.ensure_future(call.code()) for call in silent]
        async with asyncio.timeout(PATIENCE_S):
            while sum(code.done() for code in codes) < 3:  # noqa: ASYNC110 - a call says it to nobody
                await asyncio.sleep(0.01)
        assert {code.result() for code in codes if code.done()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        async with client_of(server) as client:
            assert (await client.infer(MODEL, [tensor(images(1))])).as_numpy("label").shape == (1,)
        for call in silent:
            call.cancel()
        await asyncio.gather(*codes, return_exceptions=True)
