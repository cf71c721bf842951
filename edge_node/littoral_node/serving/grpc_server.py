"""Open Inference Protocol v2 over gRPC, as `inference.GRPCInferenceService`, in the agent's own event loop.

Handlers take their request as a stream of one message. On the wire that is the same call, but a handler can check the caller and
count the request as in flight before the message has come. Errors are status codes (STATUS) with "message (hint)".
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import grpc.aio

from littoral.errors import BadInput, Conflict, FleetError, NotFound, RuntimeFailure, TooLarge, Unavailable
from littoral.inference.v2 import inference_pb2 as pb
from littoral.transport import join_address, try_to_listen
from littoral_node.runtimes.ended import BadValues, RuntimeCrash, RuntimeHang
from littoral_node.serving.access import NoToken
from littoral_node.serving.concurrency import TooManyRequests
from littoral_node.serving.listen_options import ListenOptions
from littoral_node.serving.messages import answer_to, large, metadata_to, parsed, request_of
from littoral_node.serving.service import Forbidden, Service
from littoral_node.serving.tensors import Asked

SERVICE = "inference.GRPCInferenceService"
GRACE_S = 5.0
MAX_CONNECTIONS = 256
SLOW_S, MOST_SLOW = 0.5, 4
"""Messages that may take longer than that, so that at most four large ones are in memory in part."""
INLINE_BYTES = 64 * 1024
"""A longer message is read in a thread."""
_ENVELOPE_BYTES = 64 * 1024
"""Names, shapes and parameters around the values."""

STATUS: Mapping[type[FleetError], grpc.StatusCode] = {
    BadInput: grpc.StatusCode.INVALID_ARGUMENT,
    NoToken: grpc.StatusCode.UNAUTHENTICATED,
    Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Conflict: grpc.StatusCode.ABORTED,
    TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooManyRequests: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    RuntimeCrash: grpc.StatusCode.UNAVAILABLE,
    RuntimeHang: grpc.StatusCode.UNAVAILABLE,
    BadValues: grpc.StatusCode.INVALID_ARGUMENT,
    RuntimeFailure: grpc.StatusCode.INTERNAL,
}

_Answering = Callable[[Any], Awaitable[Any]]


@dataclass(slots=True, eq=False)
class _Coming:
    """A call whose message has not come."""

    task: asyncio.Task[Any]
    since: float
    refused: FleetError | None = None

    def end(self, why: FleetError) -> None:
        if self.refused is None:
            self.refused = why
            self.task.cancel()


class GrpcServer:
    """Args:
    port: 0: any free one; then `port` is its number.
    """

    def __init__(self, service: Service, host: str, port: int, options: ListenOptions | None = None) -> None:
        options = options or ListenOptions()
        self._service = service
        self._host = host
        self.port = port
        self._body_s, self._access, self._tls = options.body_s, options.access, options.tls
        self._body_memory = options.body_memory
        self._coming: set[_Coming] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._options = (
            ("grpc.max_receive_message_length", options.max_body_bytes + _ENVELOPE_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a lottery
            ("grpc.max_concurrent_streams", service.max_in_flight),
            ("grpc.max_allowed_incoming_connections", options.max_connections or MAX_CONNECTIONS),
            ("grpc.server_handshake_timeout_ms", round(options.body_s * 1000)),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        )
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Returns once requests are taken. Raises Unavailable where the port is in use or may not be bound."""
        address = join_address(self._host, self.port)
        try:
            try_to_listen(self._host, self.port)  # gRPC says in lines of its own that it cannot, and not why
            self._server = grpc.aio.server(options=self._options)
            self._server.add_generic_rpc_handlers((self._handlers(),))
            if self._tls is None:
                self.port = self._server.add_insecure_port(address)
            else:
                pair = (self._tls.key.read_bytes(), self._tls.certificate.read_bytes())
                self.port = self._server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        except (OSError, RuntimeError) as error:
            self._server = None
            why = error.strerror if isinstance(error, OSError) else error
            raise Unavailable(
                f"grpc: cannot listen on {address}: {why}", hint="choose another with --grpc HOST:PORT, or --grpc off"
            ) from error
        await self._server.start()

    async def stop(self) -> None:
        """Takes no new request; those that are under way are answered."""
        if self._server is not None:
            await self._server.stop(GRACE_S)
            self._server = None
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _handlers(self) -> grpc.GenericRpcHandler:
        answering: Mapping[str, tuple[_Answering, Any, bool]] = {
            "ServerLive": (self._live, pb.ServerLiveRequest, False),
            "ServerReady": (self._ready, pb.ServerReadyRequest, False),
            "ModelReady": (self._model_ready, pb.ModelReadyRequest, False),
            "ServerMetadata": (self._about, pb.ServerMetadataRequest, False),
            "ModelMetadata": (self._model, pb.ModelMetadataRequest, False),
            "ModelInfer": (self._infer, None, True),
            "RepositoryIndex": (self._index, pb.RepositoryIndexRequest, False),
            "RepositoryModelLoad": (self._load, pb.RepositoryModelLoadRequest, False),
            "RepositoryModelUnload": (self._unload, pb.RepositoryModelUnloadRequest, False),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.stream_unary_rpc_method_handler(
                    self._handler(answer, counted=counted),
                    request_deserializer=request.FromString if request is not None else None,
                    response_serializer=_serialized,
                )
                for name, (answer, request, counted) in answering.items()
            },
        )

    def _handler(self, answer: _Answering, *, counted: bool) -> Callable[[AsyncIterator[Any], Any], Awaitable[Any]]:
        async def handled(requests: AsyncIterator[Any], context: Any) -> Any:
            try:
                if answer != self._live:
                    self._access.check(_authorization(context))
                if not counted:
                    return await answer(await self._only(requests))
                self._service.enter()
                try:
                    return await answer(await self._only(requests))
                finally:
                    self._service.leave()
            except FleetError as error:
                status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
                await context.abort(status, str(error))
            except Exception as error:  # noqa: BLE001 - the boundary: a bug answers this request alone
                traceback.print_exc()
                await context.abort(grpc.StatusCode.INTERNAL, f"internal: {type(error).__name__} (the agent's log says more)")

        return handled

    async def _only(self, requests: AsyncIterator[Any]) -> Any:
        """The one message of a call. Raises Unavailable where it does not come in time, BadInput where none comes,
        TooManyRequests where it is slow and other ones are too: gRPC buffers a part of a message, and does not report its size.
        """
        task = asyncio.current_task()
        assert task is not None
        coming = _Coming(task, time.monotonic())
        self._coming.add(coming)
        if self._looking is None:
            self._look()
        try:
            return await anext(requests)
        except StopAsyncIteration as error:
            raise BadInput("request: the call ended without one") from error
        except asyncio.CancelledError:
            if coming.refused is None or task.uncancel() > 0:
                raise
            raise coming.refused from None
        finally:
            self._coming.discard(coming)

    def _look(self) -> None:
        """At the calls whose message has not come. One timer for all of them: one for each would cost more than the call."""
        now = time.monotonic()
        slow = [coming for coming in self._coming if now - coming.since > min(SLOW_S, self._body_s)]
        for number, coming in enumerate(sorted(slow, key=lambda coming: coming.since)):
            if now - coming.since > self._body_s:
                coming.end(Unavailable(f"request: did not come in {self._body_s:g} s"))
            elif number >= MOST_SLOW:
                words = f"request: did not come in {SLOW_S:g} s, and {MOST_SLOW} others that take as long are waited for"
                coming.end(TooManyRequests(words, hint="try again in a second"))
        self._looking = None
        if self._coming:
            pause = min(SLOW_S, self._body_s) / 4
            self._looking = asyncio.get_running_loop().call_later(pause, self._look)

    async def _live(self, request: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._service.ready())

    async def _model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        try:
            self._service.check_version(request.name, request.version)
        except NotFound:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def _about(self, request: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(**self._service.about())

    async def _model(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        return metadata_to(self._service.model(request.name, request.version))

    async def _infer(self, data: bytes) -> pb.ModelInferResponse:
        reserved, model = 0, ""
        try:
            if len(data) <= INLINE_BYTES:
                request = parsed(data)
                asked: Asked = partial(request_of, request)
            else:
                reserved = self._body_memory.reserve(len(data), 0)
                request, asked = await self._service.beside(large, data)
            model = request.model_name
            return answer_to(await self._service.infer(model, asked, request.model_version))
        except FleetError as error:
            self._service.refused(model, error)
            raise
        finally:
            self._body_memory.release(reserved)

    async def _index(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        response = pb.RepositoryIndexResponse()
        for entry in self._service.index(ready=request.ready):
            response.models.add(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
        return response

    async def _load(self, request: pb.RepositoryModelLoadRequest) -> pb.RepositoryModelLoadResponse:
        self._access.check_repository()
        if request.parameters:
            raise BadInput(
                f"parameters: {', '.join(request.parameters)[:80]} are not taken", hint="a model is loaded as its release says"
            )
        await self._service.repository.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def _unload(self, request: pb.RepositoryModelUnloadRequest) -> pb.RepositoryModelUnloadResponse:
        self._access.check_repository()
        await self._service.repository.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()


def _authorization(context: Any) -> str | None:
    return next((value for name, value in context.invocation_metadata() or () if name == "authorization"), None)


def _serialized(response: Any) -> bytes:
    data: bytes = response.SerializeToString()
    return data
