"""Open Inference Protocol v2 over REST, with a real client over real connections."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from littoral.errors import Unavailable
from littoral_node.serving.rest import HttpServer
from littoral_node.serving.rest_requests import HEADER_LENGTH
from littoral_node.serving.service import Service
from littoral_node.serving.slots import Slots
from littoral_node.telemetry.counting import RequestCounts, TelemetryWindows
from tests.kit.models import CLASSES, SHAPE, images, logits_of, weights
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import MODEL, Node, open_node, request_of, served


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(served(tmp_path)) as opened:
        yield opened


async def test_the_server_says_what_it_is_and_what_it_serves(node: Node) -> None:
    server = (await node.client.get("/v2")).json()
    assert server["name"] == "littoral-node"
    assert server["extensions"] == ["binary_tensor_data", "model_repository"]
    for path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{MODEL}/ready", f"/v2/models/{MODEL}/versions/seed-0/ready"):
        assert (await node.client.get(path)).status_code == 200, path
    metadata = (await node.client.get(f"/v2/models/{MODEL}")).json()
    assert metadata == (await node.client.get(f"/v2/models/{MODEL}/versions/seed-0")).json()
    assert metadata["versions"] == ["seed-0"]
    assert metadata["inputs"] == [{"name": "x", "datatype": "UINT8", "shape": [-1, *SHAPE]}]
    assert metadata["outputs"] == [
        {"name": "logits", "datatype": "FP32", "shape": [-1, CLASSES]},
        {"name": "label", "datatype": "INT64", "shape": [-1]},
    ]


async def test_without_a_model_it_lives_and_is_not_ready() -> None:
    async with open_node() as node:
        assert (await node.client.get("/v2/health/live")).status_code == 200
        ready = await node.client.get("/v2/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"ready": False, "models": []})
        assert (await node.infer(request_of(images(1)))).status_code == 404


@pytest.mark.parametrize("count", [1, 5])
async def test_an_inference(node: Node, count: int) -> None:
    x = images(count)
    answer = await node.infer(request_of(x, id="mine"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == (MODEL, "seed-0", "mine")
    assert "parameters" not in body
    logits, label = body["outputs"]
    assert (logits["name"], logits["datatype"], logits["shape"]) == ("logits", "FP32", [count, CLASSES])
    assert (label["name"], label["datatype"], label["shape"]) == ("label", "INT64", [count])
    wanted = logits_of(x, weights())
    np.testing.assert_allclose(np.reshape(logits["data"], (count, CLASSES)), wanted, atol=1e-4)
    assert label["data"] == wanted.argmax(axis=1).tolist()


async def test_outputs_are_chosen(node: Node) -> None:
    answer = (await node.infer(request_of(images(2), outputs=[{"name": "label"}]))).json()
    assert [output["name"] for output in answer["outputs"]] == ["label"]
    assert "id" not in answer


async def test_what_is_malformed_is_refused_with_a_way_out(node: Node) -> None:
    answer = await node.client.post(f"/v2/models/{MODEL}/infer", json={"inputs": []})
    assert answer.status_code == 400
    assert answer.json()["hint"] == f"GET /v2/models/{MODEL} tells names, types and shapes"


async def test_a_version_that_is_not_served_is_not_found(node: Node) -> None:
    path = f"/v2/models/{MODEL}/versions/seed-0/infer"
    assert (await node.client.post(path, json=request_of(images(1)))).status_code == 200
    answer = await node.client.post(path.replace("seed-0", "seed-9"), json=request_of(images(1)))
    assert answer.status_code == 404
    assert answer.json() == {"error": "version: 'seed-9' of tiny is not served", "hint": "served is seed-0"}


async def test_what_is_not_there_is_not_found(node: Node) -> None:
    for method, path in (
        ("GET", "/"),
        ("GET", "/v2/models"),
        ("GET", "/v2/models/letters"),
        ("GET", "/v2/models/letters/ready"),
        ("POST", "/v2/models/letters/infer"),
        ("GET", "/v2/models/a%2Finfer"),
    ):
        answer = await node.client.request(method, path)
        assert answer.status_code == 404, path
        assert answer.json()["error"]


async def test_tensors_in_binary_form(node: Node) -> None:
    x = images(3)
    body = {
        "inputs": [{"name": "x", "shape": list(x.shape), "datatype": "UINT8", "parameters": {"binary_data_size": x.nbytes}}],
        "outputs": [{"name": "logits", "parameters": {"binary_data": True}}, {"name": "label"}],
    }
    head = json.dumps(body).encode()
    answer = await node.client.post(
        f"/v2/models/{MODEL}/infer", content=head + x.tobytes(), headers={"Inference-Header-Content-Length": str(len(head))}
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers[HEADER_LENGTH])
    outputs = json.loads(answer.content[:length])["outputs"]
    logits = np.frombuffer(answer.content[length:], "<f4").reshape(3, CLASSES)
    assert outputs[0]["parameters"] == {"binary_data_size": logits.nbytes}
    np.testing.assert_allclose(logits, logits_of(x, weights()), atol=1e-4)
    assert outputs[1]["data"] == logits.argmax(axis=1).tolist()


@pytest.mark.parametrize("length", ["-1", "one", "1000000"])
async def test_a_wrong_length_of_the_json_is_refused(node: Node, length: str) -> None:
    answer = await node.client.post(
        f"/v2/models/{MODEL}/infer", json=request_of(images(1)), headers={b"inference-header-content-length": length.encode()}
    )
    assert answer.status_code == 400


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"inputs": NaN}', b"null"])
async def test_what_is_not_a_json_object_is_refused(node: Node, body: bytes) -> None:
    answer = await node.client.post(f"/v2/models/{MODEL}/infer", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("body: ")


async def test_a_wrong_request_is_refused_by_name_and_says_nothing_about_the_model(node: Node) -> None:
    answer = await node.infer(request_of(images(1)[:, :, :3]))
    assert answer.status_code == 400
    assert answer.json()["error"] == "inputs[0].shape: [1, 1, 3, 4], wanted [n, 1, 4, 4] with n from 1 to 256"
    huge = await node.infer(request_of(np.full((1, *SHAPE), 1e300), "FP64"))
    assert huge.status_code == 400
    assert "too large" in huge.json()["error"]
    assert node.telemetry.counts(MODEL) == RequestCounts(0, 0)
    await node.logits(images(1))
    assert node.telemetry.counts(MODEL) == RequestCounts(1, 0)


async def test_a_model_that_fails_is_counted_and_answers_500(tmp_path: Path) -> None:
    broken = served(tmp_path)
    broken.model.close()
    async with open_node(broken) as node:
        answer = await node.infer(request_of(images(1)))
        assert answer.status_code == 500
        assert "closed" in answer.json()["error"]
        assert node.telemetry.counts(MODEL) == RequestCounts(1, 1)


async def test_a_body_over_the_limit_is_refused_whether_its_length_is_told_or_not(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b" " * 500

    async with open_node(served(tmp_path), max_body_bytes=4_000) as node:
        told = await node.client.post(f"/v2/models/{MODEL}/infer", content=b" " * 5_000)
        assert told.status_code == 413
        assert "5000 bytes, at most 4000" in told.json()["error"]
        assert (await node.client.post(f"/v2/models/{MODEL}/infer", content=chunks())).status_code == 413
        assert (await node.infer(request_of(images(4)))).status_code == 200


async def test_more_requests_than_it_takes_are_told_to_come_again(tmp_path: Path) -> None:
    async with open_node(served(tmp_path), max_in_flight=1) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
        writer.write(f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{".encode())
        await writer.drain()
        async with asyncio.timeout(PATIENCE_S):
            while (answer := await node.infer(request_of(images(1)))).status_code == 200:
                pass  # until the server has seen the other
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        writer.write(b"}")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        assert (await node.infer(request_of(images(1)))).status_code == 200
        writer.close()
        await writer.wait_closed()


async def test_a_body_that_does_not_come_gives_its_place_back(tmp_path: Path) -> None:
    async with open_node(served(tmp_path), max_in_flight=1, body_s=0.05) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
        writer.write(f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{".encode())
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        assert (await node.infer(request_of(images(1)))).status_code == 200
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_goes_away_harms_nobody(node: Node) -> None:
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
        body = json.dumps(request_of(images(200))).encode()
        writer.write(
            f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        writer.transport.abort()
    np.testing.assert_allclose(await node.logits(images(1)), logits_of(images(1), weights()), atol=1e-4)


async def test_a_port_in_use_is_named_with_the_flag_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port}: Address already in use \(.*--http HOST:PORT\)"):
            await HttpServer(Service(Slots(), TelemetryWindows()), "127.0.0.1", port).start()


async def test_it_stops_and_starts_again_on_the_same_port(tmp_path: Path) -> None:
    async with open_node(served(tmp_path)) as first:
        port = first.server.port
        await first.logits(images(1))
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    again = HttpServer(Service(Slots(), TelemetryWindows()), "127.0.0.1", port)
    await again.start()
    assert again.port == port
    await again.stop()
    await again.stop()
