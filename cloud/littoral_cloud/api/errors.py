"""The one place where errors become gRPC status codes, and where calls are counted and get their ids. Nothing else in the
servicers knows a status code."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from littoral.errors import (
    BadInput,
    BadToken,
    Conflict,
    DigestMismatch,
    FleetError,
    NoSpace,
    NotAccepted,
    NotFound,
    TooLarge,
    Unavailable,
    Untrusted,
    is_full,
)
from littoral_cloud.api.access import AUDIENCES, Audience, set_calling_node
from littoral_cloud.api.node_calls import NodeCalls
from littoral_cloud.api.peer import peer_of
from littoral_cloud.counting.durations import LabelledDurations
from littoral_cloud.fleet.renewal import NotDue
from littoral_cloud.logs.request_id import HEADER, begin_request

log = logging.getLogger(__name__)

STATUS: dict[type[FleetError], grpc.StatusCode] = {
    BadToken: grpc.StatusCode.UNAUTHENTICATED,
    NotAccepted: grpc.StatusCode.PERMISSION_DENIED,
    DigestMismatch: grpc.StatusCode.DATA_LOSS,
    Untrusted: grpc.StatusCode.PERMISSION_DENIED,
    BadInput: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Conflict: grpc.StatusCode.ABORTED,
    TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    NoSpace: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
}
"""By class; a class that is not named has its nearest named ancestor's."""


class OutOfRange(BadInput):
    """A blob was asked for from behind its end."""

    code = "out-of-range"


class WrongOffset(Conflict):
    """A blob's data does not begin where the stored part ends."""

    code = "wrong-offset"


STATUS |= {
    OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    WrongOffset: grpc.StatusCode.FAILED_PRECONDITION,
    NotDue: grpc.StatusCode.FAILED_PRECONDITION,
}


def status_of(error: FleetError) -> grpc.StatusCode:
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return grpc.StatusCode.INTERNAL


def details_of(error: FleetError) -> str:
    """As "code: message (hint)"."""
    return f"{error.code}: {error}"


Behaviour = Callable[[Any, Any], Awaitable[Any]]

_REBUILD = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Around every call: gives it its request id, counts it, lets in who may make it (littoral_cloud.api.access), and ends one
    whose handler raises with the error's status.

    Handlers are coroutines that read and write the context. The id is in the trailing metadata of a call that fails.

    Args:
        calls: how long each took, by method and status.
        nodes: knows who is accepted; None: this listener has no calls of nodes.
    """

    def __init__(self, calls: LabelledDurations, nodes: NodeCalls | None = None) -> None:
        self._calls = calls
        self._nodes = nodes

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:  # no such method: gRPC answers UNIMPLEMENTED
            return None
        name, rebuild = _REBUILD[handler.request_streaming, handler.response_streaming]
        given = dict(handler_call_details.invocation_metadata or ()).get(HEADER)
        method = handler_call_details.method
        guarded = _guarded(_for(AUDIENCES.get(method), getattr(handler, name), self._nodes), method, given, self._calls)
        return rebuild(guarded, handler.request_deserializer, handler.response_serializer)


def _for(audience: Audience | None, behaviour: Behaviour, nodes: NodeCalls | None) -> Behaviour:
    """The behaviour, for who may call it alone."""

    async def of_node(request: Any, context: Any) -> Any:
        assert nodes is not None, "a listener with calls of nodes knows its nodes"
        async with nodes.accepted(context) as peer:
            set_calling_node(peer)
            return await behaviour(request, context)

    async def of_certificate(request: Any, context: Any) -> Any:
        set_calling_node(peer_of(context))
        return await behaviour(request, context)

    async def of_none(request: Any, context: Any) -> Any:
        raise NotAccepted("this call has no audience", hint="this is a fault of the coordinator")

    if audience is None:
        return of_none
    return {Audience.NODE: of_node, Audience.CERTIFICATE: of_certificate}.get(audience, behaviour)


def _guarded(behaviour: Behaviour, method: str, given: str | bytes | None, calls: LabelledDurations) -> Behaviour:
    async def call(request: Any, context: Any) -> Any:
        id = begin_request(given)
        now = asyncio.get_running_loop().time
        started, outcome = now(), grpc.StatusCode.OK
        try:
            return await behaviour(request, context)
        except grpc.aio.AbortError:
            outcome = context.code()
            raise
        except asyncio.CancelledError:
            outcome = grpc.StatusCode.CANCELLED
            raise
        except Exception as error:
            outcome, details = _ending(error, method, id)
            await context.abort(outcome, details, ((HEADER, id),))
            raise  # not reached: abort raises
        finally:
            calls.add(now() - started, method.removeprefix("/"), outcome.name)

    return call


def _ending(error: Exception, method: str, id: str) -> tuple[grpc.StatusCode, str]:
    """Status and details of a call whose handler raised."""
    full = isinstance(error, OSError) and is_full(error)
    known = NoSpace("disk: the cloud's data folder is full", hint="make room there") if full else error
    if isinstance(known, FleetError) and status_of(known) is not grpc.StatusCode.INTERNAL:
        return status_of(known), details_of(known)
    log.error("%s: %s", method, error, exc_info=None if isinstance(error, FleetError) else error)
    return grpc.StatusCode.INTERNAL, f"internal: the cloud failed; its log says why, at request {id}"
