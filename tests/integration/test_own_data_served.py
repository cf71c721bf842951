"""A table, series and images of any size: trained here, exported, and answered by a real agent over REST."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from littoral_cloud.data.dataset import Dataset
from littoral_cloud.data.sources import load_dataset
from littoral_cloud.factory.production import make_students
from littoral_cloud.packaging.package import Packaged
from littoral_cloud.recipes.recipe import Production, StudentRecipe
from littoral_cloud.training.schedule import Schedule
from littoral_node.identity.folder import NodeFolder
from tests.kit.agent import MODEL, AgentProcess, Maker, reported, want
from tests.kit.fleet import Fleet
from tests.kit.measured import series, table

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")

PERCEPTRON = {"name": "perceptron", "widths": [16]}
DEPTHWISE = {
    **{"name": "depthwise_1d", "stem": 8, "stem_kernel": 5, "widths": [8], "kernels": [5]},
    **{"last": [16], "last_kernel": 5, "dilation": 1},
}


def student(data: Dataset, architecture: dict[str, Any], variant: str, epochs: int = 3) -> Packaged:
    plan = StudentRecipe("own", architecture, epochs, Schedule(batch=16, learning_rate=1e-2), variants=(variant,))
    [packaged] = make_students(data, Production(MODEL, None, (plan,))).packaged
    return packaged


async def serve(fleet: Fleet, maker: Maker, folder: NodeFolder, packaged: Packaged, *flags: str) -> AgentProcess:
    for content in (*packaged.files.values(), *packaged.coded.values()):
        fleet.blobs.put(content)
    agent = await (await AgentProcess.start(folder.root, *flags)).ready()
    await want(fleet, maker.seal(packaged.manifest), 1)
    done = await reported(fleet, 1, "SUCCEEDED", "FAILED", "ROLLED_BACK")
    assert done.state == "SUCCEEDED", done
    if flags:
        assert done.probation is not None
        assert done.probation.accuracy == 1.0
    return agent


async def ask(agent: AgentProcess, x: npt.NDArray[Any], datatype: str) -> npt.NDArray[np.float32]:
    tensor = {"name": "input", "shape": list(x.shape), "datatype": datatype, "data": x.ravel().tolist()}
    async with httpx.AsyncClient(base_url=f"http://{agent.http}", trust_env=False) as client:
        answer = await client.post(f"/v2/models/{MODEL}/infer", json={"inputs": [tensor]})
        assert answer.status_code == 200, answer.text
    return np.asarray(answer.json()["outputs"][0]["data"], np.float32).reshape(len(x), -1)


def described(agent: AgentProcess) -> Any:
    with urllib.request.urlopen(f"http://{agent.http}/v2/models/{MODEL}") as answer:
        return json.load(answer)["inputs"][0]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["onnx", "ncnn-fp16"])
@pytest.mark.parametrize("kind", ["table", "series"])
async def test_measured_values_are_answered_as_they_come(
    fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path, kind: str, variant: str
) -> None:
    data = table() if kind == "table" else series()
    packaged = student(data, PERCEPTRON if kind == "table" else DEPTHWISE, variant)
    assert packaged.manifest.accuracy > 0.9
    right = _right(packaged, data)
    (tmp_path / "labelled").mkdir()
    np.savez(tmp_path / "labelled" / "a.npz", x=data.test_x[right], y=data.test_y[right])
    agent = await serve(fleet, maker, folder, packaged, "--labelled", str(tmp_path / "labelled"))
    assert described(agent) == {"name": "input", "datatype": "FP32", "shape": [-1, *data.shape]}
    probe = packaged.manifest.probe
    x = probe.input_array(data.shape)
    logits = await ask(agent, x, "FP32")
    assert np.abs(logits - probe.logit_array()).max() <= probe.tolerance
    await agent.stop()
    assert agent.noise == []


def _right(packaged: Packaged, data: Dataset) -> npt.NDArray[np.bool_]:
    from littoral_cloud.packaging.package import answers_of

    found: npt.NDArray[np.bool_] = answers_of(packaged, data.test_x).argmax(1) == data.test_y
    return found


@pytest.mark.slow
async def test_a_node_resizes_what_clients_send_as_the_cloud_did(
    fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path
) -> None:
    photos, rng = tmp_path / "photos", np.random.default_rng(0)
    for i in range(40):
        height, width = (int(side) for side in rng.integers(20, 60, 2))
        picture = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
        kind = ("lying", "standing")[i % 2]
        band = slice(height // 3, height // 2), slice(None)
        picture[band if kind == "lying" else (slice(None), slice(width // 3, width // 2))] += 180
        (photos / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(photos / kind / f"{i:02}.png")
    (photos / "data.toml").write_text('resize = [12, 14]\nchannels = "grey"\n')
    data = load_dataset(photos)
    assert data.shape == (1, 12, 14)
    packaged = student(data, {"name": "compact_cnn", "widths": [8], "head": "map"}, "onnx")
    agent = await serve(fleet, maker, folder, packaged)
    assert described(agent) == {"name": "input", "datatype": "UINT8", "shape": [-1, -1, -1, -1]}
    file = sorted((photos / "lying").iterdir())[4]  # the first test image
    raw = np.asarray(Image.open(file)).transpose(2, 0, 1)[None]
    assert raw.shape[1:] != data.shape
    direct = await ask(agent, data.test_x[:1], "UINT8")
    np.testing.assert_array_equal(await ask(agent, np.ascontiguousarray(raw), "UINT8"), direct)
    await agent.stop()
