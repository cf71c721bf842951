"""A real agent, asked by an unmodified tritonclient over REST and gRPC; on loopback, and from elsewhere."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
import pytest
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from tritonclient.utils import InferenceServerException

from littoral_node.identity.folder import NodeFolder
from tests.kit.agent import MODEL, AgentProcess, Maker, examples, reported, want
from tests.kit.fleet import Fleet

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")

TOKEN = "a-token-that-is-long-enough"
T = TypeVar("T")


async def beside(asked: Callable[[], T]) -> T:
    """The clients block."""
    return await asyncio.to_thread(asked)


def shown() -> dict[str, str]:
    """A new one each time: Triton's HTTP client writes into it."""
    return {"authorization": f"Bearer {TOKEN}"}


def infer(client: Any, kind: Any, **more: Any) -> Any:
    x, _ = examples(3)
    given = kind.InferInput("x", [3, 1, 4, 4], "UINT8")
    given.set_data_from_numpy(x.reshape(3, 1, 4, 4))
    return client.infer(MODEL, [given], **more).as_numpy("label")


async def test_triton_clients_load_unload_and_ask_a_real_agent(fleet: Fleet, maker: Maker, folder: NodeFolder) -> None:
    maker.install(folder, maker.artifact())
    agent = await (await AgentProcess.start(folder.root)).ready()
    _, y = examples(3)

    def http_side() -> None:
        with over_http.InferenceServerClient(agent.http) as client:
            assert client.is_server_live()
            assert client.is_server_ready()
            assert client.is_model_ready(MODEL)
            assert client.get_server_metadata()["name"] == "littoral-node"
            assert client.get_model_metadata(MODEL)["name"] == MODEL
            for packed in (None, "gzip", "deflate"):
                np.testing.assert_array_equal(infer(client, over_http, request_compression_algorithm=packed), y)
            [entry] = client.get_model_repository_index()
            assert (entry["name"], entry["state"]) == (MODEL, "READY")
            client.unload_model(MODEL)
            assert not client.is_model_ready(MODEL)
            assert not client.is_server_ready()
            [entry] = client.get_model_repository_index()
            assert entry["state"] == "UNAVAILABLE"
            assert "unloaded" in entry["reason"]
            with pytest.raises(InferenceServerException, match="not served"):
                infer(client, over_http)
            client.load_model(MODEL)
            np.testing.assert_array_equal(infer(client, over_http), y)
            with pytest.raises(InferenceServerException, match="not on this node"):
                client.load_model("other")

    def grpc_side() -> None:
        with over_grpc.InferenceServerClient(agent.said["grpc"]) as client:
            client.unload_model(MODEL)
            client.unload_model(MODEL)  # again: nothing happens
            assert not client.is_model_ready(MODEL)
            assert [model.state for model in client.get_model_repository_index().models] == ["UNAVAILABLE"]
            with pytest.raises(InferenceServerException, match="NOT_FOUND"):
                infer(client, over_grpc)
            client.load_model(MODEL)
            client.load_model(MODEL)
            np.testing.assert_array_equal(infer(client, over_grpc), y)

    await beside(http_side)
    await beside(grpc_side)
    assert await agent.stop() == 0


async def test_what_a_client_unloaded_comes_back_with_something_new_from_the_cloud_or_a_restart(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    digest = maker.artifact()
    agent = await (await AgentProcess.start(folder.root)).ready()
    await want(fleet, digest, 1)
    await reported(fleet, 1, "SUCCEEDED", serving=digest)

    def unload() -> None:
        with over_grpc.InferenceServerClient(agent.said["grpc"]) as client:
            client.unload_model(MODEL)

    await beside(unload)
    assert (await agent.infer(examples(1)[0]))[0] == 404
    await want(fleet, digest, 2)
    await reported(fleet, 2, "SUCCEEDED", serving=digest)
    assert await agent.accuracy() == 1.0
    await beside(unload)
    assert await agent.stop() == 0
    agent = await (await AgentProcess.start(folder.root)).ready()
    assert await agent.accuracy() == 1.0
    assert await agent.stop() == 0


async def test_beyond_loopback_a_token_and_tls_are_needed_and_models_stay_where_they_are(
    fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path
) -> None:
    maker.install(folder, maker.artifact())
    refused = await AgentProcess.start(folder.root, "--http", "0.0.0.0:0")
    with pytest.raises(AssertionError, match="ended with 2"):
        await refused.ready()
    assert "no token is set (token-file)" in str(refused.events + refused.noise)
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    agent = await (await AgentProcess.start(folder.root, "--http", "0.0.0.0:0", "--token-file", str(token))).ready()
    port, grpc_port = (agent.said[name].rpartition(":")[2] for name in ("http", "grpc"))
    certificate = folder.root / "serving-cert.pem"
    assert (folder.root / "serving-key.pem").stat().st_mode & 0o777 == 0o600
    assert len(agent.said["certificate_sha256"]) == 64
    _, y = examples(3)

    def http_side() -> None:
        trusting = ssl.create_default_context(cafile=str(certificate))
        with over_http.InferenceServerClient(f"localhost:{port}", ssl=True, ssl_context_factory=lambda: trusting) as client:
            assert client.is_server_live()
            for headers in (None, {"authorization": "Bearer wrong-wrong-wrong-wrong"}):
                with pytest.raises(InferenceServerException, match="authorization"):
                    infer(client, over_http, headers=headers)
            np.testing.assert_array_equal(infer(client, over_http, headers=shown()), y)
            with pytest.raises(InferenceServerException, match="--allow-load on"):
                client.unload_model(MODEL, headers=shown())

    def grpc_side() -> None:
        with over_grpc.InferenceServerClient(f"localhost:{grpc_port}", ssl=True, root_certificates=str(certificate)) as client:
            assert client.is_server_live()
            with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
                infer(client, over_grpc)
            np.testing.assert_array_equal(infer(client, over_grpc, headers=shown()), y)
            with pytest.raises(InferenceServerException, match="PERMISSION_DENIED"):
                client.unload_model(MODEL, headers=shown())

    await beside(http_side)
    await beside(grpc_side)
    with pytest.raises(grpc.FutureTimeoutError), grpc.insecure_channel(f"localhost:{grpc_port}") as plain:
        grpc.channel_ready_future(plain).result(timeout=0.5)
    assert await agent.stop() == 0
    fingerprint = agent.said["certificate_sha256"]
    flags = ("--http", "0.0.0.0:0", "--token-file", str(token), "--allow-load", "on")
    agent = await (await AgentProcess.start(folder.root, *flags)).ready()
    assert agent.said["certificate_sha256"] == fingerprint  # clients hold it: it stays

    def allowed() -> None:
        address = f"localhost:{agent.said['grpc'].rpartition(':')[2]}"
        with over_grpc.InferenceServerClient(address, ssl=True, root_certificates=str(certificate)) as client:
            client.unload_model(MODEL, headers=shown())
            client.load_model(MODEL, headers=shown())

    await beside(allowed)
    assert await agent.stop() == 0
