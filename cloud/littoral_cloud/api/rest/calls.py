"""Around every request over HTTP: its time in the counts, and an answer where the coordinator fails on it."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from littoral_cloud.api.rest.failures import fault
from littoral_cloud.api.rest.guard import Asgi, Message, Receive, Scope, Send
from littoral_cloud.counting.durations import LabelledDurations
from littoral_cloud.logs.request_id import HEADER, request_id

log = logging.getLogger(__name__)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "_OTHER"
"""Any other method, as OpenTelemetry writes it: a caller could make up a thousand."""


class HttpCalls:
    """Args:
    inner: what is asked; gives each request its id.
    app: whose routes they are.
    calls: how long each took, by method, route ("": none) and status; None: it is not asked for.
    """

    def __init__(self, inner: Asgi, app: FastAPI, calls: LabelledDurations | None) -> None:
        self._inner = inner
        self._app = app
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._inner(scope, receive, send)
        now = asyncio.get_running_loop().time
        started, status, complete = now(), 0, False

        async def answer(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self._inner(scope, receive, answer)
        except Exception as error:
            log.error("%s %s: %s", scope["method"], scope["path"][:200], error, exc_info=error)
            if status and not complete:  # the answer is under way: ending the connection is all that is left
                raise
            if not status:
                failed = fault()
                failed.headers[HEADER] = request_id()
                await failed(scope, receive, answer)
        finally:
            if self._calls is not None:
                method = scope["method"] if scope["method"] in METHODS else OTHER
                self._calls.add(now() - started, method, self._route(scope), str(status))

    def _route(self, scope: Scope) -> str:
        """The template of the path, like "/api/v1/nodes/{node}"; "": it is none of ours."""
        return self._paths.get(id(scope.get("route")), "")

    @functools.cached_property
    def _paths(self) -> Mapping[int, str]:
        """By route: of a router that was included, a route itself has the last part alone."""
        return {id(each.original_route): each.path or "" for each in iter_route_contexts(self._app.routes)}
