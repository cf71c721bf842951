"""Tiny artifacts of one linear model, logits = flatten(x / 255) @ weights, for every runtime; no torch, no exporter."""

from __future__ import annotations

import functools
import importlib
import struct
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.digest import digest_of
from littoral.manifest import File, Manifest, Output
from littoral.preparation import Input
from littoral.probe import Probe
from littoral.sketch import fit

SHAPE = (1, 4, 4)
CLASSES = 3
Weights = npt.NDArray[np.float32]


def weights(seed: int = 0, shape: tuple[int, ...] = SHAPE, classes: int = CLASSES) -> Weights:
    """(values of an input, classes)"""
    return np.random.default_rng(seed).normal(size=(int(np.prod(shape)), classes)).astype(np.float32)


def images(count: int, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def logits_of(x: npt.NDArray[np.uint8], used: Weights) -> npt.NDArray[np.float32]:
    return np.asarray((x.reshape(len(x), -1).astype(np.float32) / np.float32(255)) @ used, np.float32)


def onnx_files(used: Weights, shape: tuple[int, ...] = SHAPE) -> Mapping[str, bytes]:
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", used.shape[1]])],
        [numpy_helper.from_array(used, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return {"model.onnx": bytes(model.SerializeToString())}


def ncnn_files(used: Weights, shape: tuple[int, ...] = SHAPE) -> Mapping[str, bytes]:
    param = f"7767517\n2 2\nInput x 0 1 x\nInnerProduct fc 1 1 x logits 0={used.shape[1]} 1=0 2={used.size}\n"
    return {"model.param": param.encode(), "model.bin": struct.pack("<I", 0) + np.ascontiguousarray(used.T).tobytes()}


def coreml_files(used: Weights, shape: tuple[int, ...] = SHAPE) -> Mapping[str, bytes]:
    return _converted(used.tobytes(), used.shape, shape)


@functools.lru_cache(8)
def _converted(data: bytes, sizes: tuple[int, ...], shape: tuple[int, ...]) -> Mapping[str, bytes]:
    from littoral.mlpackage import taken_from
    from littoral_cloud.export.coreml import load_coremltools, quiet

    used = np.frombuffer(data, np.float32).reshape(sizes)
    ct = load_coremltools()
    mb = importlib.import_module("coremltools.converters.mil").Builder

    @mb.program(input_specs=[mb.TensorSpec((1, *shape))], opset_version=ct.target.iOS15)  # type: ignore[untyped-decorator]
    def program(x: Any) -> Any:
        flat = mb.reshape(x=x, shape=(1, used.shape[0]))
        return mb.linear(x=flat, weight=np.ascontiguousarray(used.T), name="logits")

    with quiet(), tempfile.TemporaryDirectory() as scratch:
        precise = {"compute_precision": ct.precision.FLOAT32, "skip_model_load": True}
        made = ct.convert(program, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS15, **precise)
        made.save(f"{scratch}/model.mlpackage")
        return taken_from(Path(scratch) / "model.mlpackage")


FILES_OF: Mapping[str, Callable[..., Mapping[str, bytes]]] = {
    "onnxruntime": onnx_files,
    "ncnn": ncnn_files,
    "coreml": coreml_files,
    "tensorrt": onnx_files,
}
"""By runtime. A runtime that is added to the registry gets a line here, and passes the same cases."""

HERE = ("ncnn", "onnxruntime")
"""Runtimes that every machine has on which these tests run; tests/contract holds it to that."""


def artifact(
    folder: Path,
    runtime: str = "onnxruntime",
    *,
    seed: int = 0,
    shape: tuple[int, ...] = SHAPE,
    classes: int = CLASSES,
    used: Weights | None = None,
    **fields: Any,
) -> Manifest:
    """Writes the files into `folder`, and gives the manifest that fits them; `fields` replace its own. `used`: its weights;
    None: drawn by the seed."""
    used = weights(seed, shape, classes) if used is None else used
    folder.mkdir(parents=True, exist_ok=True)
    files = FILES_OF[runtime](used, shape)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    probed = images(4, 1, shape)
    manifest = Manifest(
        model="tiny",
        name=f"linear-{seed}",
        architecture={"name": "linear"},
        parameters=used.size,
        runtime=runtime,
        runtime_options={"ncnn": {"fp16": False}, "tensorrt": {"precision": "fp16", "batch": [1, 1, 4]}}.get(runtime, {}),
        requires={"opset": 18, "ir": 9} if runtime in ("onnxruntime", "tensorrt") else {},
        files=tuple(File(name, digest_of(data), len(data)) for name, data in files.items()),
        input=Input("x", shape, 1 / 255, (0.0,), (1.0,)),
        output=Output("logits", tuple(f"class {i}" for i in range(classes))),
        accuracy=0.5,
        accuracy_examples=100,
        probe=Probe.of(probed, logits_of(probed, used), 1e-3),
        sketch=fit(images(200, 2, shape), seed=5, features=4, bins=8),
    )
    return replace(manifest, **fields)
