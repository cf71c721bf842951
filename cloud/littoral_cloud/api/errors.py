"""The one place where errors become gRPC status codes. Nothing else in the servicers knows a status code."""

from __future__ import annotations

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
from littoral_cloud.fleet.renewal import NotDue

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


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Ends every call whose handler raises with the error's status; handlers are coroutines that read and write the context."""

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:  # no such method: gRPC answers UNIMPLEMENTED
            return None
        name, rebuild = _REBUILD[handler.request_streaming, handler.response_streaming]
        guarded = _guarded(getattr(handler, name), handler_call_details.method)
        return rebuild(guarded, handler.request_deserializer, handler.response_serializer)


def _guarded(behaviour: Behaviour, method: str) -> Behaviour:
    async def call(request: Any, context: Any) -> Any:
        try:
            return await behaviour(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            full = isinstance(error, OSError) and is_full(error)
            known = NoSpace("disk: the cloud's data folder is full", hint="make room there") if full else error
            if isinstance(known, FleetError) and status_of(known) is not grpc.StatusCode.INTERNAL:
                status, details = status_of(known), details_of(known)
            else:
                log.error("%s: %s", method, error, exc_info=not isinstance(error, FleetError))
                status, details = grpc.StatusCode.INTERNAL, "internal: the cloud failed; its log says why"
        await context.abort(status, details)

    return call
