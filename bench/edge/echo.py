"""The agent's serving with everything loaded, but over gRPC nothing is inferred: every ModelInfer gets the same answer.

    python -m bench.edge.echo ARTIFACT_FOLDER

Serves over REST what the agent would, holds the same libraries, and prints its gRPC port. Ends with stdin.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np

from bench.edge.fleet import MODEL
from littoral.inference.v2 import inference_pb2 as pb
from littoral.manifest import Manifest
from littoral_node.artifacts.manifest_file import ENVELOPE, payload_of
from littoral_node.runtimes import load
from littoral_node.serving.grpc_server import GrpcServer
from littoral_node.serving.rest import HttpServer
from littoral_node.serving.service import Service
from littoral_node.serving.slots import Served, Slots
from littoral_node.telemetry.counting import TelemetryWindows


class Echo(GrpcServer):
    def __init__(self, service: Service, classes: int) -> None:
        super().__init__(service, "127.0.0.1", 0)
        self._response = pb.ModelInferResponse(model_name=MODEL, model_version="sha256:" + "0" * 64)
        self._response.outputs.add(name="logits", datatype="FP32", shape=(1, classes))
        self._response.outputs.add(name="label", datatype="INT64", shape=(1,))
        self._response.raw_output_contents.extend((np.zeros(classes, "<f4").tobytes(), np.zeros(1, "<i8").tobytes()))

    async def _infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        return self._response


async def main(folder: Path) -> None:
    manifest = Manifest.decode(payload_of((folder / ENVELOPE).read_bytes()))
    slots = Slots()
    slots.swap(MODEL, Served(manifest, "v", load(manifest, folder, 1)))
    service = Service(slots, TelemetryWindows())
    http, grpc = HttpServer(service, "127.0.0.1", 0), Echo(service, len(manifest.output.labels))
    await http.start()
    await grpc.start()
    print(grpc.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await grpc.stop()
    await http.stop()
    service.close()
    slots.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
