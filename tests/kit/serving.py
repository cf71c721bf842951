"""A node's REST interface with tiny models behind it, and a client of it, in the test's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from edge_node.runtimes import load
from edge_node.serving.http import HttpServer
from edge_node.serving.slots import Served, Slots
from edge_node.telemetry import Telemetry
from tests.kit.models import artifact

MODEL = "tiny"


def served(folder: Path, runtime: str = "onnxruntime", *, seed: int = 0, **fields: Any) -> Served:
    """A loaded model; its version is "seed-SEED"."""
    manifest = artifact(folder, runtime, seed=seed, **fields)
    return Served(manifest, f"seed-{seed}", load(manifest, folder, 1))


def request_of(x: npt.NDArray[Any], datatype: str = "UINT8", **more: Any) -> dict[str, Any]:
    tensor = {"name": "x", "shape": list(x.shape), "datatype": datatype, "data": x.ravel().tolist()}
    return {"inputs": [tensor], **more}


@dataclass(slots=True)
class Node:
    slots: Slots
    telemetry: Telemetry
    server: HttpServer
    client: httpx.AsyncClient

    async def infer(self, body: Any, model: str = MODEL) -> httpx.Response:
        return await self.client.post(f"/v2/models/{model}/infer", json=body)

    async def logits(self, x: npt.NDArray[Any], **more: Any) -> npt.NDArray[np.float32]:
        answer = await self.infer(request_of(x, **more))
        assert answer.status_code == 200, answer.text
        output = next(o for o in answer.json()["outputs"] if o["name"] == "logits")
        return np.asarray(output["data"], np.float32).reshape(output["shape"])


@asynccontextmanager
async def open_node(*models: Served, **options: Any) -> AsyncIterator[Node]:
    """Serving the last of `models`; `options` are HttpServer's."""
    slots, telemetry = Slots(), Telemetry()
    for model in models:
        slots.swap(MODEL, model)
    server = HttpServer(slots, telemetry, "127.0.0.1", 0, **options)
    await server.start()
    base = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=10.0) as client:
        try:
            yield Node(slots, telemetry, server, client)
        finally:
            await client.aclose()
            await server.stop()
            slots.close()
