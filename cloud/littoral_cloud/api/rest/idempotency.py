"""Idempotency-Key: a request that makes something may be sent twice, and makes it once.

Rules, in order:

1. The key belongs to the token, session or user that sent it. It is written down before the request is carried out, with a digest
   of the request.
2. The same key with the same request gets the first answer again, for a day. With another request it is refused (422).
3. While the first request is under way, or where the coordinator died in it, the key is refused (409): it is not known yet
   whether the thing was made.
4. A request that failed for a reason of ours (5xx) gives its key free. An answer with a secret is not stored: the second request
   is refused, and says that the first was carried out.

Draft: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request

from littoral.errors import BadInput, Conflict, FleetError
from littoral_cloud.api.rest.access import OFFICE, here_of
from littoral_cloud.api.rest.failures import failure
from littoral_cloud.api.rest.guard import STREAMED, Asgi, Message, Receive, Scope, Send
from littoral_cloud.commands.use_case import Office
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.records import dump, load

KIND = "idempotency"
LASTS_S = 86_400.0
HEADER = b"idempotency-key"
_MOST_KEY = 255
_MOST_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """`status` 0: the request is under way. `body` is text; empty where the answer had a secret or was too large."""

    request: str  # SHA-256
    at: float
    status: int = 0
    body: str = ""
    schema: int = 1


_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same request gets the first answer again, for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": _MOST_KEY, "pattern": "^[!-~]+$"},
}


def with_keys(document: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document, in which every POST that takes the header names it."""
    found = document()
    for path, methods in found["paths"].items():
        if "post" in methods and not path.startswith(STREAMED):
            parameters = methods["post"].setdefault("parameters", [])
            if _PARAMETER not in parameters:
                parameters.append(_PARAMETER)
    return found


class Idempotency:
    """Around the API; the office in the scope has the ledger."""

    def __init__(self, app: FastAPI, asgi: Asgi) -> None:
        self._app = app
        self._asgi = asgi

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        keys = [value for name, value in scope.get("headers", ()) if name.lower() == HEADER]
        if scope["type"] != "http" or not keys or scope["method"] != "POST" or scope["path"].startswith(STREAMED):
            return await self._asgi(scope, receive, send)
        try:
            key = keys[0].decode("ascii", "replace").strip()
            if not key or len(key) > _MOST_KEY or not key.isprintable():
                raise BadInput(f"Idempotency-Key: must have 1 to {_MOST_KEY} printable characters", hint="like a UUID")
            scope["app"] = self._app
            caller = (await here_of(Request(scope))).caller
            body = await _whole(receive)
            id = hashlib.sha256(f"{caller.id or caller.name}\0{key}".encode()).hexdigest()
            return await self._once(id, scope, body, send)
        except FleetError as error:
            return await failure(error)(scope, receive, send)

    async def _once(self, id: str, scope: Scope, body: bytes, send: Send) -> None:
        office: Office = scope[OFFICE]
        ledger, now = office.core.ledger, office.core.clock()
        asked = hashlib.sha256(b"\0".join((scope["path"].encode(), scope.get("query_string", b""), body))).hexdigest()
        doc = await ledger.get(KIND, id)
        known = load(KeptAnswer, doc) if doc is not None else None
        if known is not None and now - known.at < LASTS_S:
            return await _again(known, asked, scope, send)
        generation = doc.generation if doc is not None else 0
        await ledger.commit(Change((Write(KIND, id, dump(KeptAnswer(request=asked, at=now)), generation, quiet=True),)))
        answer = _Answer(send)
        await self._asgi(scope, _given(body), answer)
        kept = None if answer.status >= 500 or not answer.status else answer.kept(asked, now)
        await ledger.commit(Change((Write(KIND, id, dump(kept) if kept else None, None, quiet=True),)))
        return None


class _Answer:
    """Passes an answer on, and remembers it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self._secret = False
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            named = {name.lower(): value for name, value in message.get("headers", ())}
            self._secret = b"no-store" in named.get(b"cache-control", b"")
        else:
            self._body += message.get("body", b"")
        await self._send(message)

    def kept(self, request: str, now: float) -> KeptAnswer:
        body = "" if self._secret or len(self._body) > _MOST_ANSWER else self._body.decode()
        return KeptAnswer(request=request, at=now, status=self.status, body=body)


async def _again(known: KeptAnswer, asked: str, scope: Scope, send: Send) -> None:
    if known.request != asked:
        raise BadInput("Idempotency-Key: was used for another request", hint="give each request a key of its own")
    if not known.status:
        raise Conflict("Idempotency-Key: the request is under way, or its outcome is not known", hint="look whether it was done")
    if not known.body and known.status not in (204, 205):
        raise Conflict(
            "Idempotency-Key: the request was carried out, and its answer is not stored", hint="look whether it was done"
        )
    headers: list[tuple[bytes, bytes]] = [(b"idempotency-replayed", b"true")]
    if known.body:
        headers.append((b"content-type", b"application/json"))
    await send({"type": "http.response.start", "status": known.status, "headers": headers})
    await send({"type": "http.response.body", "body": known.body.encode()})


async def _whole(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message: MutableMapping[str, Any] = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body"):
            return bytes(body)


def _given(body: bytes) -> Receive:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
