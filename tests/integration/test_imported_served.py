"""A model from elsewhere: imported by the command, released, and served by a real agent with its own tensors."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from onnx import helper
from tritonclient.utils import InferenceServerException

from littoral.manifest import Manifest
from littoral.signature import Packed
from littoral_cloud.app import open_core
from littoral_cloud.cli import execute
from littoral_cloud.foreign.importing import import_model
from littoral_cloud.foreign.plan import ImportPlan
from littoral_cloud.packaging.node_check import taken_by_a_node
from littoral_cloud.packaging.package import Packaged
from littoral_cloud.settings import load_settings
from littoral_node.identity.folder import NodeFolder
from tests.kit.agent import MODEL, AgentProcess, Maker, reported, want
from tests.kit.fleet import Fleet
from tests.kit.foreign import house_prices, houses, made, write
from tests.kit.images import bars
from tests.kit.teachers import linear_onnx

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")


async def serve(fleet: Fleet, maker: Maker, folder: NodeFolder, packaged: Packaged) -> AgentProcess:
    for content in (*packaged.files.values(), *packaged.coded.values()):
        fleet.blobs.put(content)
    agent = await (await AgentProcess.start(folder.root)).ready()
    await want(fleet, maker.seal(packaged.manifest), 1)
    done = await reported(fleet, 1, "SUCCEEDED", "FAILED", "ROLLED_BACK")
    assert done.state == "SUCCEEDED", done
    return agent


def area(count: int) -> dict[str, Any]:
    return {"name": "area", "datatype": "FP32", "shape": [count, 2], "data": [1.0, 2.0] * count}


def rooms(count: int) -> dict[str, Any]:
    return {"name": "rooms", "datatype": "INT64", "shape": [count, 1], "data": list(range(count))}


async def asked_over_grpc(address: str) -> None:
    async with triton.InferenceServerClient(address) as client:
        about = await client.get_model_metadata(MODEL)
        assert [(i.name, i.datatype, list(i.shape)) for i in about.inputs] == [
            ("area", "FP32", [-1, 2]),
            ("rooms", "INT64", [-1, 1]),
        ]
        given = [triton.InferInput("rooms", [2, 1], "INT64"), triton.InferInput("area", [2, 2], "FP32")]
        given[0].set_data_from_numpy(np.int64([[0], [1]]))
        given[1].set_data_from_numpy(np.float32([[1, 2], [1, 2]]))
        answer = await client.infer(MODEL, given)
        assert answer.as_numpy("price").tolist() == [[7.0], [17.0]]
        assert answer.as_numpy("cheap").tolist() == [[True], [True]]
        with pytest.raises(InferenceServerException, match="must name each input"):
            await client.infer(MODEL, given[:1])


@pytest.mark.slow
async def test_a_node_serves_all_its_inputs_and_outputs_as_they_are(
    fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", **houses())
    plan = ImportPlan(MODEL, task="regression")
    [whole] = import_model(write(tmp_path / "m.onnx", house_prices()), plan, data=tmp_path / "d.npz")
    agent = await serve(fleet, maker, folder, whole)
    async with httpx.AsyncClient(base_url=f"http://{agent.http}/v2/models/{MODEL}", trust_env=False) as client:
        about = (await client.get("")).json()
        assert about["inputs"] == [
            {"name": "area", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "rooms", "datatype": "INT64", "shape": [-1, 1]},
        ]
        assert [o["name"] for o in about["outputs"]] == ["price", "cheap"]

        answer = await client.post("/infer", json={"inputs": [rooms(3), area(3)], "id": "a"})
        price, cheap = answer.json()["outputs"]
        assert price == {"name": "price", "datatype": "FP32", "shape": [3, 1], "data": [7.0, 17.0, 27.0]}
        assert cheap == {"name": "cheap", "datatype": "BOOL", "shape": [3, 1], "data": [True, True, False]}

        head = {
            "inputs": [{**area(2), "parameters": {"binary_data_size": 16}}, {**rooms(2), "parameters": {"binary_data_size": 16}}]
        }
        for tensor in head["inputs"]:
            del tensor["data"]
        wanted = {**head, "outputs": [{"name": "price", "parameters": {"binary_data": True}}]}
        start = json.dumps(wanted).encode()
        tail = np.float32([[1, 2], [1, 2]]).tobytes() + np.int64([[0], [1]]).tobytes()
        length = {"Inference-Header-Content-Length": str(len(start))}
        answer = await client.post("/infer", content=start + tail, headers=length)
        size = int(answer.headers["Inference-Header-Content-Length"])
        assert np.frombuffer(answer.content[size:], "<f4").tolist() == [7.0, 17.0]

        for wrong, said in (
            ([area(2)], "must name each input of this model once"),
            ([area(2), area(2)], "must name each input of this model once"),
            ([area(2), {**rooms(2), "datatype": "FP32"}], "inputs[1].datatype: 'FP32', rooms is INT64"),
            ([area(2), {**rooms(2), "shape": [2]}], "inputs[1].shape: [2], rooms takes [any, 1]"),
            ([area(2), rooms(3)], "inputs: have [2, 3] examples"),
            ([area(2), {**rooms(2), "data": [0.5, 1]}], "inputs[1].data: holds a value that INT64 cannot hold"),
            ([area(300), rooms(300)], "inputs: have [300] examples"),
            ([{**area(2), "shape": [0, 2], "data": []}, rooms(2)], "inputs[0].shape: [0, 2], area takes [any, 2]"),
        ):
            answer = await client.post("/infer", json={"inputs": wrong})
            assert answer.status_code == 400
            assert said in answer.json()["error"]
        answer = await client.post("/infer", content=start + tail[:-1], headers=length)
        assert "15 bytes follow the JSON, the input takes 16" in answer.json()["error"]
        answer = await client.post("/infer", content=start + tail + b"x", headers=length)
        assert "33 bytes follow the JSON, the input takes 32" in answer.json()["error"]
    await asked_over_grpc(agent.said["grpc"])
    await agent.stop()
    assert agent.noise == []


@pytest.mark.slow
async def test_a_photo_of_224_by_224_is_imported_tried_and_served(
    fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path
) -> None:
    """Its probe has nine times the values that a manifest holds."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    tensors = [("x", 1, ["n", 3, 224, 224])], [("y", 1, ["n", 2])]
    model = made(nodes, *tensors, [("w", np.float32([[1, -1], [2, 0], [0, 3]]))])
    x = np.random.default_rng(0).normal(size=(10, 3, 224, 224)).astype(np.float32)
    right = x.mean((2, 3)) @ np.float32([[1, -1], [2, 0], [0, 3]])
    np.savez(tmp_path / "d.npz", x=x, y=right.argmax(1))
    imported = import_model(write(tmp_path / "m.onnx", model), ImportPlan(MODEL), data=tmp_path / "d.npz")
    [whole] = await taken_by_a_node(imported)
    agent = await serve(fleet, maker, folder, whole)
    async with httpx.AsyncClient(base_url=f"http://{agent.http}/v2/models/{MODEL}", trust_env=False) as client:
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3, 224, 224], "parameters": {"binary_data_size": x[0].nbytes}}
        head = json.dumps({"inputs": [tensor]}).encode()
        length = {"Inference-Header-Content-Length": str(len(head))}
        answer = await client.post("/infer", content=head + x[:1].tobytes(), headers=length)
        assert answer.json()["outputs"][0]["data"] == pytest.approx(right[0].tolist(), abs=1e-5)
    async with triton.InferenceServerClient(agent.said["grpc"]) as grpc_client:
        given = triton.InferInput("x", [1, 3, 224, 224], "FP32")
        given.set_data_from_numpy(x[:1])
        found = await grpc_client.infer(MODEL, [given])
        np.testing.assert_allclose(found.as_numpy("y"), right[:1], atol=1e-5)
    await agent.stop()
    assert agent.noise == []


async def test_a_spoilt_probe_keeps_an_imported_model_out(fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path) -> None:
    [whole] = import_model(write(tmp_path / "m.onnx", house_prices()), ImportPlan(MODEL, task="custom"))
    body = json.loads(whole.manifest.encode())
    held = body["signature"]["probe"]["outputs"]["price"]
    held["data"] = Packed.of(np.zeros(held["shape"], np.float32)).data
    spoilt = Manifest.decode(json.dumps(body).encode())
    for content in (*whole.files.values(), *whole.coded.values()):
        fleet.blobs.put(content)
    agent = await (await AgentProcess.start(folder.root)).ready()
    await want(fleet, maker.seal(spoilt), 1)
    done = await reported(fleet, 1, "SUCCEEDED", "FAILED", "ROLLED_BACK")
    assert (done.state, done.reason) == ("FAILED", "probe-mismatch")
    assert "price is off by" in done.detail
    await agent.stop()


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code = execute([*words, "--format", "json"])
    told = capsys.readouterr()
    assert code == 0, told.err
    return json.loads(told.out)


@pytest.mark.slow
def test_the_command_imports_releases_and_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LITTORAL_DATA_DIR", str(tmp_path / "cloud"))
    file = str(write(tmp_path / "prices.onnx", house_prices()))
    np.savez(tmp_path / "d.npz", **houses())
    imported = said(
        capsys,
        *("artifact", "import", file, "--model", "prices", "--task", "regression"),
        *("--metric", "mae", "--data", str(tmp_path / "d.npz"), "--rollout"),
    )
    assert (imported["release"], imported["rollout"]) == ("prices-1", "prices-1-r1")
    first = imported["artifacts"][0]
    assert (first["metric"]["name"], first["accuracy"], first["examples"]) == ("mae", None, 8)
    assert first["inputs"] == ["area FP32 [any, 2]", "rooms INT64 [any, 1]"]
    assert execute(["artifact", "list"]) == 0
    assert "mae 0." in capsys.readouterr().out
    tried = said(capsys, "artifact", "check", "prices-onnx")
    assert (tried["name"], tried["works"]) == ("prices-onnx", True)
    assert tried["samples"] > 0
    shown = said(capsys, "artifact", "show", "prices-onnx")
    assert shown["metric"]["name"] == "mae"
    assert [tensor["name"] for tensor in shown["signature"]["outputs"]] == ["price", "cheap"]
    assert execute(["artifact", "show", "prices-onnx"]) == 0
    assert "mae 0." in capsys.readouterr().out

    wrong = execute(["artifact", "import", file, "--model", "prices", "--size", "area", "--task", "custom"])
    assert wrong == 2
    assert "--size: 'area' is not NAME=NUMBER,..." in capsys.readouterr().err
    assert execute(["artifact", "import", str(tmp_path / "gone.onnx"), "--model", "prices"]) == 4
    assert "gone.onnx is not a file" in capsys.readouterr().err


@pytest.mark.slow
def test_what_is_judged_in_different_ways_makes_no_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LITTORAL_DATA_DIR", str(tmp_path / "cloud"))
    data = bars()
    np.savez(tmp_path / "d.npz", **houses())
    np.savez(tmp_path / "b.npz", x=data.test_x, y=data.test_y)
    prices = said(
        capsys,
        *("artifact", "import", str(write(tmp_path / "a.onnx", house_prices())), "--model", "m"),
        *("--task", "regression", "--data", str(tmp_path / "d.npz")),
    )
    said(
        capsys,
        *("artifact", "import", str(write(tmp_path / "b.onnx", linear_onnx())), "--model", "m"),
        *("--data", str(tmp_path / "b.npz"), "--prepare", "unit"),
    )
    digests = {row["name"]: row["manifest_digest"] for row in said(capsys, "artifact", "list")}
    assert [row["name"] for row in prices["artifacts"]] == ["a-onnx"], "int8 of two weights is no smaller"
    words = ["release", "create", "--artifact", digests["a-onnx"], "--artifact", digests["b-onnx"]]
    assert execute(words) == 2
    assert "are judged in different ways" in capsys.readouterr().err

    async def kept() -> str:
        async with open_core(load_settings()) as core:
            doc = await core.ledger.get("artifact", digests["a-onnx"])
            assert doc is not None
            return str(doc.body["metric"]["name"])

    assert asyncio.run(kept()) == "rmse"
