"""The agent's REST serving with one linear model, in a process of its own.

    python -m bench.edge.linear_node SIDE CLASSES BATCH

Images of SIDE x SIDE to CLASSES logits; BATCH as the setting. Prints its port; ends with stdin.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.edge.fleet import MODEL
from littoral.digest import digest_of
from littoral.manifest import File, Manifest, Output
from littoral.preparation import Input
from littoral.probe import Probe
from littoral.sketch import fit
from littoral_node.runtimes import load
from littoral_node.serving.rest import HttpServer
from littoral_node.serving.service import Service
from littoral_node.serving.slots import Served, Slots
from littoral_node.telemetry.counting import TelemetryWindows


def artifact(folder: Path, side: int, classes: int) -> Manifest:
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = rng.normal(size=(side * side, classes)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(weights, "w")],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    x = rng.integers(0, 256, (40, 1, side, side), dtype=np.uint8)
    logits = (x[:4].reshape(4, -1) / np.float32(255)) @ weights
    return Manifest(
        model=MODEL,
        name="linear",
        architecture={"name": "linear"},
        parameters=weights.size,
        runtime="onnxruntime",
        runtime_options={},
        requires={"opset": 18, "ir": 9},
        files=(File("model.onnx", digest_of(data), len(data)),),
        input=Input("x", (1, side, side), 1 / 255, (0.0,), (1.0,)),
        output=Output("logits", tuple(map(str, range(classes)))),
        accuracy=0.5,
        accuracy_examples=40,
        probe=Probe.of(x[:4], logits, 1e-3),
        sketch=fit(x, seed=5, features=4, bins=8),
    )


async def main(side: int, classes: int, batch: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        manifest = artifact(Path(folder), side, classes)
        model = load(manifest, Path(folder), 1)
    slots = Slots()
    slots.swap(MODEL, Served(manifest, "v", model))
    service = Service(slots, TelemetryWindows(), batch=batch)
    http = HttpServer(service, "127.0.0.1", 0)
    await http.start()
    print(http.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await http.stop()
    service.close()
    slots.close()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
