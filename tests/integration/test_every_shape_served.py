"""Tensors of every rank, size and datatype: imported, measured, tried on the probe, and asked over three transports.

One graph holds many of them, each given back as it came: what one of them breaks is named by its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc.aio as triton
from onnx import TensorProto, helper

from littoral.measuring import Measurer
from littoral.signature import DATATYPES
from littoral.tensor_spec import FREE
from littoral_cloud.foreign.importing import import_model
from littoral_cloud.foreign.plan import ImportPlan
from littoral_cloud.packaging.package import Packaged
from littoral_node.artifacts.probe import check_probe
from littoral_node.runtimes import load
from littoral_node.serving.slots import Served
from tests.kit.foreign import made, write
from tests.kit.serving import MODEL, Node, open_grpc, open_node

Array = npt.NDArray[Any]
RANKS: Sequence[range] = (range(3), range(3, 5), range(5, 7))
_ONNX = {
    **{"BOOL": TensorProto.BOOL, "FP16": TensorProto.FLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE},
    **{f"{sign}INT{bits}": getattr(TensorProto, f"{sign}INT{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)},
}


def tensors(ranks: Sequence[int]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Datatype and shape by name: the last size is 0 or 1, the others are 2, 1, 2, ..."""
    return {
        f"{datatype}_{rank}_{last}": (datatype, (*((2, 1) * rank)[: rank - 1], last)[-rank:] if rank else ())
        for datatype in DATATYPES
        for rank in ranks
        for last in ((0, 1) if rank else (1,))
    }


def echo(about: Mapping[str, tuple[str, tuple[int | str, ...]]]) -> Any:
    """Gives each tensor back under its name with `out_` before it."""
    return made(
        [helper.make_node("Identity", [name], [f"out_{name}"]) for name in about],
        [(name, _ONNX[kind], shape) for name, (kind, shape) in about.items()],
        [(f"out_{name}", _ONNX[kind], shape) for name, (kind, shape) in about.items()],
    )


def drawn(kind: str, shape: tuple[int, ...]) -> Array:
    """The largest value of its type is among them."""
    dtype = DATATYPES[kind]
    array = np.ones(shape, dtype)
    if array.size and dtype.kind != "b":
        array.reshape(-1)[0] = np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max
    return array


@pytest.fixture
async def measurer() -> Any:
    opened = Measurer(1, None)
    yield opened
    opened.end()


def laid_out(packaged: Packaged, folder: Path) -> Path:
    folder.mkdir()
    for name, content in packaged.files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("ranks", RANKS, ids=str)
async def test_every_rank_size_and_datatype(tmp_path: Path, ranks: range, measurer: Measurer) -> None:
    about = tensors(ranks)
    values = {name: drawn(kind, shape) for name, (kind, shape) in about.items()}
    np.savez(tmp_path / "d.npz", y=np.zeros(5), **{name: np.stack([array] * 5) for name, array in values.items()})
    [packaged] = import_model(
        write(tmp_path / "m.onnx", echo(about)),
        ImportPlan(MODEL, task="custom", metric="tests.integration.test_every_shape_served:nothing"),
        data=tmp_path / "d.npz",
    )
    folder = laid_out(packaged, tmp_path / "artifact")
    result = await measurer.measure(packaged.manifest, folder)
    assert (result.failure, result.detail) == ("", "")
    async with served(packaged, folder) as node:
        await asked_everywhere(node, values)


def nothing(_answers: object, _targets: object) -> float:
    return 1.0


async def test_free_sizes_may_be_0_but_a_batch_holds_an_example(tmp_path: Path, measurer: Measurer) -> None:
    about: dict[str, tuple[str, tuple[int | str, ...]]] = {"past": ("FP32", ("n", 2, "before", 4)), "rate": ("INT64", ("n",))}
    sizes = {"past": (1, 2, 0, 4)}
    [packaged] = import_model(write(tmp_path / "m.onnx", echo(about)), ImportPlan(MODEL, task="custom", sizes=sizes))
    assert packaged.manifest.signature is not None
    assert packaged.manifest.signature.inputs[0].shape == (FREE, 2, FREE, 4)
    folder = laid_out(packaged, tmp_path / "artifact")
    assert (await measurer.measure(packaged.manifest, folder)).failure == ""
    async with served(packaged, folder) as node:
        empty, full = np.zeros((3, 2, 0, 4), np.float32), np.ones((3, 2, 5, 4), np.float32)
        for past in (empty, full):
            await asked_everywhere(node, {"past": past, "rate": np.int64([1, 2, 3])})
        for shape, said in (([0, 2, 0, 4], "from one example on"), ([1, 2, -1, 4], "takes"), ([1, 2, 1 << 40, 4], "takes")):
            tensor = {"name": "past", "datatype": "FP32", "shape": shape, "data": []}
            rate = {"name": "rate", "datatype": "INT64", "shape": [1], "data": [1]}
            answer = await node.infer({"inputs": [tensor, rate]})
            assert answer.status_code == 400
            assert said in answer.json()["error"]


def served(packaged: Packaged, folder: Path) -> Any:
    model = load(packaged.manifest, folder, 1)
    check_probe(model, packaged.manifest)
    return open_node(Served(packaged.manifest, "v", model))


async def asked_everywhere(node: Node, values: Mapping[str, Array]) -> None:
    for answers in (await over_json(node, values), await in_binary(node, values), await over_grpc(node, values)):
        for name, value in values.items():
            found = answers[f"out_{name}"]
            assert (found.dtype, found.shape) == (value.dtype, value.shape), name
            np.testing.assert_array_equal(found, value, err_msg=name)


def described(values: Mapping[str, Array]) -> list[dict[str, Any]]:
    names = {dtype: name for name, dtype in DATATYPES.items()}
    return [{"name": name, "datatype": names[value.dtype], "shape": list(value.shape)} for name, value in values.items()]


async def over_json(node: Node, values: Mapping[str, Array]) -> dict[str, Array]:
    inputs = [{**tensor, "data": values[tensor["name"]].reshape(-1).tolist()} for tensor in described(values)]
    answer = await node.infer({"inputs": inputs})
    assert answer.status_code == 200, answer.text
    found = {}
    for output in answer.json()["outputs"]:
        found[output["name"]] = np.array(output["data"], DATATYPES[output["datatype"]]).reshape(output["shape"])
    return found


async def in_binary(node: Node, values: Mapping[str, Array]) -> dict[str, Array]:
    inputs = [{**tensor, "parameters": {"binary_data_size": values[tensor["name"]].nbytes}} for tensor in described(values)]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = head + b"".join(value.tobytes() for value in values.values())
    length = {"Inference-Header-Content-Length": str(len(head))}
    answer = await node.client.post(f"/v2/models/{MODEL}/infer", content=body, headers=length)
    assert answer.status_code == 200, answer.text
    at = int(answer.headers["Inference-Header-Content-Length"])
    found = {}
    for output in json.loads(answer.content[:at])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        kind = DATATYPES[output["datatype"]]
        found[output["name"]] = np.frombuffer(answer.content[at : at + size], kind).reshape(output["shape"])
        at += size
    assert at == len(answer.content)
    return found


async def over_grpc(node: Node, values: Mapping[str, Array]) -> dict[str, Array]:
    inputs = []
    for tensor in described(values):
        given = triton.InferInput(tensor["name"], tensor["shape"], tensor["datatype"])
        given.set_data_from_numpy(values[tensor["name"]])
        inputs.append(given)
    async with open_grpc(node.service) as server, triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        answer = await client.infer(MODEL, inputs)
        return {output.name: answer.as_numpy(output.name) for output in answer.get_response().outputs}
