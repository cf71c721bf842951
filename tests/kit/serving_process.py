"""What an agent holds while it serves, in a process of its own: python -m tests.kit.serving_process FOLDER

gRPC, ONNX Runtime, orjson, numpy and cryptography in one process and one event loop. Prints its HTTP port and its gRPC
port; each line on stdin is answered with its RSS in bytes; ends with stdin.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import grpc.aio
from cryptography import x509  # noqa: F401 - the agent has it too

from littoral.fleet.v1 import session_pb2
from littoral.usage import rss_bytes
from littoral_node.runtimes import load
from littoral_node.serving.rest import HttpServer
from littoral_node.serving.service import Service
from littoral_node.serving.slots import Served, Slots
from littoral_node.telemetry.counting import TelemetryWindows
from tests.kit.models import artifact


class Echo(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:  # type: ignore[type-arg]
        return grpc.stream_stream_rpc_method_handler(self._answer)

    @staticmethod
    async def _answer(requests, context):  # type: ignore[no-untyped-def]
        async for request in requests:
            yield request


async def main(folder: Path) -> None:
    slots = Slots()
    service = Service(slots, TelemetryWindows())
    http = HttpServer(service, "127.0.0.1", 0)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await http.start()
    manifest = artifact(folder, shape=(1, 28, 28), classes=10)
    slots.swap("tiny", Served(manifest, "v", load(manifest, folder, 1)))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_stream("/echo/Echo")()
        print(http.port, port, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            word = session_pb2.Heartbeat(sequence=1).SerializeToString()
            await call.write(word)
            assert await call.read() == word
            print(rss_bytes(), flush=True)
        await call.done_writing()
    await http.stop()
    await server.stop(1)
    service.close()
    slots.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
