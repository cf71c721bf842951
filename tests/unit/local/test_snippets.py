"""What is printed can be pasted: each snippet is run as it is, against the model that it was made for."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral_cloud.local.snippets import USUAL, Where, curl, snippets, triton
from littoral_node.serving.slots import Served
from littoral_node.telemetry.counting import RequestCounts
from tests.kit.foreign import house_prices, made, peaks, tokens
from tests.kit.serving import MODEL, imported, open_grpc, open_node, served


async def said(*command: str) -> str:
    running = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    out, _ = await running.communicate()
    assert running.returncode == 0, out.decode()
    return out.decode()


def odd_names() -> Any:
    from onnx import TensorProto, helper

    shape = ("n", 100)
    return made(
        [helper.make_node("Identity", ['it\'s "x" $(no)'], ["y"])],
        [('it\'s "x" $(no)', TensorProto.FLOAT, shape)],
        [("y", TensorProto.FLOAT, shape)],
    )


MODELS = {
    "images": lambda folder: served(folder, shape=(1, 12, 12)),
    "large images": lambda folder: served(folder, shape=(3, 200, 200)),
    "table": lambda folder: served(folder, shape=(13,)),
    "two inputs": lambda folder: imported(
        folder, house_prices(), {"area": np.float32([[1, 2], [3, 4]]), "rooms": np.int64([[1], [2]])}
    ),
    "tokens": lambda folder: imported(folder, tokens(), {"ids": np.int64([[1, 19, 2]])}),
    "no batch": lambda folder: imported(folder, peaks(), {"signal": np.float32([0.1, 0.9])}),
    "odd names, many values": lambda folder: imported(folder, odd_names(), {'it\'s "x" $(no)': np.ones((1, 100), np.float32)}),
}


@pytest.mark.parametrize("name", MODELS)
async def test_each_snippet_asks_the_model_that_it_was_made_for(name: str, tmp_path: Path) -> None:
    model: Served = MODELS[name](tmp_path)
    async with open_node(model) as node, open_grpc(node.service) as server:
        http, grpc = f"127.0.0.1:{node.server.port}", f"127.0.0.1:{server.port}"
        by_curl, by_triton = await asyncio.gather(
            said("sh", "-c", curl(MODEL, model.manifest, http)),
            said(sys.executable, "-c", triton(MODEL, model.manifest, grpc)),
        )
        answer = json.loads(by_curl)
        wanted = "label" if model.manifest.signature is None else model.manifest.output.name
        [output] = [output for output in answer["outputs"] if output["name"] == wanted]
        printed = [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e[+-]?\d+)?", by_triton)]
        assert printed[:2] == pytest.approx(output["data"][:2], rel=1e-3)
        assert node.telemetry.counts(MODEL) == RequestCounts(2, 0)


def test_all_of_it_names_the_ports_and_the_folder(tmp_path: Path) -> None:
    model = served(tmp_path)
    words = snippets("digits", model.manifest, Where("127.0.0.1:9000", "127.0.0.1:9001", "/srv/my node"))
    assert "http://127.0.0.1:9000/v2/models/digits/infer" in words
    assert '"127.0.0.1:9001"' in words
    assert "littoral-node infer photo.jpg --data '/srv/my node'" in words
    assert "tritonclient" not in snippets("digits", model.manifest, Where("127.0.0.1:9000"))
    assert USUAL.http in snippets("digits", model.manifest, USUAL)
    model.model.close()
