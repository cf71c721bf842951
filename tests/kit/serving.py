"""A node's REST and gRPC interfaces with tiny models behind them, and clients of them, in the test's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from littoral.digest import digest_of
from littoral.manifest import FOREIGN_SCHEMA, File, Output, SketchSpec
from littoral.probe import NO_PROBE
from littoral.signature import Packed, Signature, TensorProbe, datatype_of
from littoral.tensor_spec import FREE, TensorSpec
from littoral_node.runtimes import load
from littoral_node.serving.grpc_server import GrpcServer
from littoral_node.serving.listen_options import ListenOptions
from littoral_node.serving.rest import HttpServer
from littoral_node.serving.service import MAX_IN_FLIGHT, Service
from littoral_node.serving.slots import Served, Slots
from littoral_node.serving.tensors import Asked, asked
from littoral_node.telemetry.counting import TelemetryWindows
from tests.kit.models import artifact
from tests.kit.patience import PATIENCE_S

MODEL = "tiny"


def served(folder: Path, runtime: str = "onnxruntime", *, seed: int = 0, **fields: Any) -> Served:
    """A loaded model; its version is "seed-SEED"."""
    manifest = artifact(folder, runtime, seed=seed, **fields)
    return Served(manifest, f"seed-{seed}", load(manifest, folder, 1))


def imported(folder: Path, model: onnx.ModelProto, probe: Mapping[str, npt.NDArray[Any]]) -> Served:
    """A model from elsewhere, loaded, whose version is "imported". Its first sizes are free; so is any other without a number.

    Args:
        probe: an array for each input.
    """
    data = model.SerializeToString()
    base = artifact(folder)
    (folder / "model.onnx").write_bytes(data)

    def specs(values: Any) -> tuple[TensorSpec, ...]:
        found = []
        for value in values:
            kind = value.type.tensor_type
            shape = tuple(FREE if size.dim_param else size.dim_value for size in kind.shape.dim)
            numbers = np.zeros(0, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
            found.append(TensorSpec(value.name, datatype_of(numbers), shape))
        return tuple(found)

    outputs = specs(model.graph.output)
    answers = onnxruntime.InferenceSession(data).run([spec.name for spec in outputs], dict(probe))
    signature = Signature(
        specs(model.graph.input),
        outputs,
        TensorProbe(
            {name: Packed.of(array) for name, array in probe.items()},
            {spec.name: Packed.of(array) for spec, array in zip(outputs, answers, strict=True)},
            {spec.name: 1e-4 for spec in outputs},
        ),
    )
    manifest = replace(
        base,
        task="custom",
        files=(File("model.onnx", digest_of(data), len(data)),),
        output=Output(signature.outputs[0].name, ()),
        sketch=SketchSpec(0, ()),
        probe=NO_PROBE,
        signature=signature,
        schema=FOREIGN_SCHEMA,
    )
    return Served(manifest, "imported", load(manifest, folder, 1))


def request_of(x: npt.NDArray[Any], datatype: str = "UINT8", **more: Any) -> dict[str, Any]:
    tensor = {"name": "x", "shape": list(x.shape), "datatype": datatype, "data": x.ravel().tolist()}
    return {"inputs": [tensor], **more}


def asked_of(x: npt.NDArray[Any], datatype: str = "UINT8") -> Asked:
    return asked(request_of(x, datatype))


@dataclass(slots=True)
class Node:
    slots: Slots
    telemetry: TelemetryWindows
    server: HttpServer
    client: httpx.AsyncClient
    service: Service

    async def infer(self, body: Any, model: str = MODEL) -> httpx.Response:
        return await self.client.post(f"/v2/models/{model}/infer", json=body)

    async def logits(self, x: npt.NDArray[Any], **more: Any) -> npt.NDArray[np.float32]:
        answer = await self.infer(request_of(x, **more))
        assert answer.status_code == 200, answer.text
        output = next(o for o in answer.json()["outputs"] if o["name"] == "logits")
        return np.asarray(output["data"], np.float32).reshape(output["shape"])


def slots_with(*models: Served) -> Slots:
    """Serving the last of `models`."""
    slots = Slots()
    for model in models:
        slots.swap(MODEL, model)
    return slots


@asynccontextmanager
async def open_grpc(service: Service, **options: Any) -> AsyncIterator[GrpcServer]:
    """`options` are those of ListenOptions."""
    server = GrpcServer(service, "127.0.0.1", 0, ListenOptions(**options))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def open_node(*models: Served, max_in_flight: int = MAX_IN_FLIGHT, **options: Any) -> AsyncIterator[Node]:
    """Serving the last of `models`; `options` are those of ListenOptions."""
    slots, telemetry = slots_with(*models), TelemetryWindows()
    service = Service(slots, telemetry, max_in_flight=max_in_flight)
    server = HttpServer(service, "127.0.0.1", 0, ListenOptions(**options))
    await server.start()
    base = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=PATIENCE_S) as client:
        try:
            yield Node(slots, telemetry, server, client, service)
        finally:
            await client.aclose()
            await server.stop()
            service.close()
            slots.close()
