"""What stands in front of every path: the largest body, the rate of each caller, and the id of the request.

Rules, in order:

1. A request has an id; the answer and every line of the log have it.
2. A caller that asks too often is refused with the time to wait, before anything else is done for it. A token or a session that
   was accepted before counts by itself, everything else by its address; the socket in the data folder has no limit,
   nor have the paths of health.
3. A body that is longer than its path allows is refused when its length is known, else when that many bytes have come.

Example: a script asks 300 times at once with one token. 200 are answered; the others get 429 and `Retry-After: 1`. Another token
notices nothing.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

from littoral.errors import TooLarge
from littoral_cloud.api.rest.access import ACCEPTED, COOKIE, USER
from littoral_cloud.api.rest.failures import TooOften, failure
from littoral_cloud.fleet.allowance import Bucket
from littoral_cloud.logs.request_id import HEADER, begin_request

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BODY = 1 << 20
UPLOADS = "/api/v1/uploads"
IMPORT = "/import/upload"
"""Of the page."""
STREAMED = (UPLOADS, IMPORT)
"""Below them a path takes its body as a stream."""
MOST_IMPORT = 1 << 30
HEALTH = frozenset({"/healthz", "/readyz"})
"""Asked by load balancers, often and from one address; the answer is ready."""
PER_SECOND = 100.0
AT_ONCE = 400
STRANGER_PER_SECOND = 2.0
STRANGER_AT_ONCE = 60
_TOO_LARGE = f"body: is longer than {MOST_BODY:,} bytes"
_UPLOADS = f"files go to {UPLOADS}"
_CALLERS = 10_000
"""Whose rates are remembered; the one that asked longest ago is forgotten first."""


class Guard:
    """Args:
    app: what is asked.
    clock: seconds; never goes back.
    """

    def __init__(self, app: Asgi, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._known: OrderedDict[str, Bucket] = OrderedDict()  # by the digest of a secret that was accepted
        self._strangers: OrderedDict[str, Bucket] = OrderedDict()  # by address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = {name.lower(): value for name, value in scope["headers"]}
        id = begin_request(headers.get(HEADER.encode(), b"").decode("latin-1"))
        host, secret = scope["client"][0] if scope.get("client") else "", _secret(headers)
        answer = self._watched(scope, send, id, secret)
        if not host.startswith(USER) and scope["path"] not in HEALTH and (wait_s := self._wait_s(host, secret)) > 0:
            refused = failure(TooOften(f"this caller asks too often; wait {wait_s:.1f} s", hint="see the header Retry-After"))
            refused.headers["retry-after"] = str(math.ceil(wait_s))
            return await refused(scope, receive, answer)
        if not scope["path"].startswith(STREAMED):
            length = headers.get(b"content-length", b"0")
            if length.isdigit() and int(length) > MOST_BODY:
                return await failure(TooLarge(_TOO_LARGE, hint=_UPLOADS))(scope, receive, answer)
            receive = _bounded(receive, MOST_BODY)
        elif scope["path"].startswith(IMPORT):
            receive = _bounded(receive, MOST_IMPORT)
        return await self._app(scope, receive, answer)

    def _wait_s(self, host: str, secret: str) -> float:
        """Until this caller may ask again; 0: it may now, and that was counted."""
        buckets, who, rate, most = (
            (self._known, secret, PER_SECOND, AT_ONCE)
            if secret in self._known
            else (self._strangers, host, STRANGER_PER_SECOND, STRANGER_AT_ONCE)
        )
        bucket = buckets.pop(who, None) or Bucket(rate, most)
        _remember(buckets, who, bucket)
        now = self._clock()
        return bucket.take(1, now) if bucket.left(now) >= 1 else (1 - bucket.held) / rate

    def _watched(self, scope: Scope, send: Send, id: str, secret: str) -> Send:
        """Adds the id to the answer, and notes whether the secret was accepted."""

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER.encode(), id.encode())]
                if message["status"] == 401:
                    self._known.pop(secret, None)
                elif secret and scope.get(ACCEPTED) and secret not in self._known:
                    _remember(self._known, secret, Bucket(PER_SECOND, AT_ONCE))
            await send(message)

        return answer


def _remember(buckets: OrderedDict[str, Bucket], who: str, bucket: Bucket) -> None:
    buckets[who] = bucket
    if len(buckets) > _CALLERS:
        buckets.popitem(last=False)


def _secret(headers: MutableMapping[bytes, bytes]) -> str:
    """A digest of the token or session that came with a request; "": none came."""
    cookies = (part for part in headers.get(b"cookie", b"").split(b"; ") if part.startswith(COOKIE.encode()))
    given = headers.get(b"authorization", b"") or next(cookies, b"")
    return hashlib.sha256(given).hexdigest() if given else ""


def _bounded(receive: Receive, most: int) -> Receive:
    came = 0

    async def some() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > most:
            raise HTTPException(413, f"body: is longer than {most:,} bytes")  # FastAPI passes no other error of a body on
        return message

    return some
