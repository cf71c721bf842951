"""The operator API as a command asks it: over the socket of the coordinator on this machine's data folder, or over the network.

Which one, the first that is there:

1. `--data-dir` on the command line: the socket of that folder.
2. The environment: LITTORAL_API_URL, the network; LITTORAL_DATA_DIR or LITTORAL_REDIS_URL, the socket.
3. The profile that `littoral-cloud login` wrote: the network.
4. The socket of the default folder.

The token in the file LITTORAL_API_TOKEN_FILE counts with 1, 2 and 4: then the caller is its owner. Without it the socket makes
the user of this process an admin.

Where no coordinator runs on the data folder, the command serves itself for its own time: the same paths over a socket of its own,
so that there is one way of doing each thing.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from littoral.errors import BadInput, FleetError, Unavailable
from littoral_cloud.client.errors import error_from
from littoral_cloud.client.profile import LoginProfile, active_profile, checked_url
from littoral_cloud.local.discovery import Serving, api_socket
from littoral_cloud.settings import CloudSettings

if TYPE_CHECKING:
    import httpx

PATHS = "/api/v1"
ANSWER_S = 60.0
PAGE = 1_000
"""Things of one request."""
FOLDER = "LITTORAL_DATA_DIR"
LONG_S = 600.0
"""Without a byte: of what takes the coordinator long."""

QueryValue = str | int | float | Sequence[str] | None


def part(text: str) -> str:
    """A name as one part of a path."""
    return quote(text, safe="")


class FleetClient:
    """Every method raises the FleetError that the coordinator answered, or Unavailable.

    Args:
        folder: the coordinator's data folder, where it is on this machine.
    """

    def __init__(self, http: httpx.AsyncClient, where: str, folder: Path | None = None) -> None:
        self._http = http
        self.where = where
        self.folder = folder

    async def get(self, path: str, **query: QueryValue) -> Any:
        return await self._ask("GET", path, query)

    async def get_slowly(self, path: str, **query: QueryValue) -> Any:
        """Of what takes the coordinator minutes."""
        return await self._ask("GET", path, query, within_s=LONG_S)

    async def post(self, path: str, body: Mapping[str, Any] | None = None, *, long: bool = False) -> Any:
        """`long`: it takes the coordinator minutes."""
        return await self._ask("POST", path, {}, body, LONG_S if long else ANSWER_S)

    async def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._ask("PUT", path, {}, body)

    async def delete(self, path: str) -> Any:
        return await self._ask("DELETE", path, {})

    async def every(self, path: str, **query: QueryValue) -> list[Any]:
        """All things of a list that comes in pages."""
        found: list[Any] = []
        after = ""
        while True:
            page = await self.get(path, **query, after=after, limit=PAGE)
            found += page["items"]
            if not (after := page["next"]):
                return found

    async def send(self, path: str, parts: AsyncIterator[bytes], **query: QueryValue) -> None:
        """PUTs a file as a stream."""
        import httpx

        headers = {"content-type": "application/octet-stream"}
        try:
            answer = await self._http.put(PATHS + path, params=_given(query), content=parts, headers=headers, timeout=LONG_S)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        if answer.is_error:
            raise error_from(answer)

    @asynccontextmanager
    async def chunks(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a file, as they come."""
        import httpx

        try:
            async with self._http.stream("GET", PATHS + path, timeout=LONG_S) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise error_from(answer)
                yield answer.aiter_bytes()
        except httpx.HTTPError as error:
            raise self._away(error) from error

    @asynccontextmanager
    async def lines(self, path: str, **query: QueryValue) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of an answer, as they come."""
        import httpx

        try:
            async with self._http.stream("GET", PATHS + path, params=_given(query), timeout=None) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise error_from(answer)
                yield answer.aiter_lines()
        except httpx.HTTPError as error:
            raise self._away(error) from error

    @asynccontextmanager
    async def events(self, *kinds: str) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        """What changes, from the moment the context is entered: "kind", "id" and "generation" of each."""
        async with self.lines("/events", kind=kinds) as lines:
            await anext(lines)  # ": open"
            yield self._changes(lines)

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, QueryValue],
        body: Mapping[str, Any] | None = None,
        within_s: float = ANSWER_S,
    ) -> Any:
        import httpx

        if (field := _not_finite(body)) is not None:
            raise BadInput(f"{field}: must be a finite number", hint="leave it out for the default")
        try:
            answer = await self._http.request(method, PATHS + path, params=_given(query), json=body, timeout=within_s)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        if answer.is_error:
            raise error_from(answer)
        return answer.json() if answer.content else None

    async def _changes(self, lines: AsyncIterator[str]) -> AsyncIterator[Mapping[str, Any]]:
        async for line in lines:
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))
        raise Unavailable(f"coordinator at {self.where}: it has ended", hint="the same command goes on once it is back")

    def _away(self, error: Exception) -> FleetError:
        hint = "littoral-cloud doctor"
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            hint = "name the fleet's CA, DATA/ca/ca.pem of the coordinator: LITTORAL_API_CA_FILE, or login --ca-file"
        return Unavailable(f"coordinator at {self.where}: {error or type(error).__name__}", hint=hint)


def _given(query: Mapping[str, QueryValue]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _not_finite(body: Any, at: str = "") -> str | None:
    """The name of a number that JSON does not have."""
    if isinstance(body, Mapping):
        return next((found for name, each in body.items() if (found := _not_finite(each, name)) is not None), None)
    return at if isinstance(body, float) and not isfinite(body) else None


@asynccontextmanager
async def fleet_client(
    settings: CloudSettings, *, folder_by_flag: bool, makes: bool = False, stranger: bool = False
) -> AsyncIterator[FleetClient]:
    """Args:
    folder_by_flag: `settings.data_dir` is from the command line.
    makes: where there is no coordinator's data, they are made.
    stranger: also where the keys and blobs are not the fleet's.

    Raises NotFound where the data folder holds no coordinator's data; BadInput, Unavailable.
    """
    token = _token(settings)
    if (profile := profile_of(settings, folder_by_flag=folder_by_flag)) is not None:
        async with client_of(profile) as client:
            yield client
    elif Serving.read(settings.data_dir) is not None:
        async with _over(api_socket(settings.data_dir), token, settings.data_dir) as client:
            yield client
    else:
        from littoral_cloud.client.alone import served_here

        with tempfile.TemporaryDirectory(prefix="littoral-") as folder:
            here = served_here(settings, Path(folder) / "api.sock", makes=makes, stranger=stranger)
            async with here as socket, _over(socket, token, settings.data_dir) as client:
                yield client


def profile_of(settings: CloudSettings, *, folder_by_flag: bool) -> LoginProfile | None:
    """Where commands ask over the network; None: over the socket of the data folder. Raises BadInput."""
    if folder_by_flag:
        return None
    if settings.api_url is not None:
        if not (token := _token(settings)):
            raise BadInput(
                "setting api_token_file: is not set, and LITTORAL_API_URL is", hint="set LITTORAL_API_TOKEN_FILE to a file"
            )
        ca_pem = _read(settings.api_ca_file, "api_ca_file") if settings.api_ca_file is not None else ""
        return LoginProfile(url=checked_url(settings.api_url, "setting api_url"), token=token, ca_pem=ca_pem)
    if FOLDER in os.environ or settings.redis_url is not None:
        return None
    return active_profile()


def _token(settings: CloudSettings) -> str:
    """ "": none is set."""
    if settings.api_token_file is None:
        return ""
    if token := _read(settings.api_token_file, "api_token_file").strip():
        return token
    raise BadInput(f"setting api_token_file: {settings.api_token_file} is empty", hint="write the token into it, on one line")


def _read(path: Path, setting: str) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text"
        raise BadInput(f"setting {setting}: {path}: {why}", hint="name a file that this user can read") from error


@asynccontextmanager
async def _over(socket: Path, token: str, folder: Path) -> AsyncIterator[FleetClient]:
    _prepare_httpx()
    import httpx  # costs 0.1 s, which help does without

    transport = httpx.AsyncHTTPTransport(uds=str(socket), verify=False)  # no TLS there, so no authorities are read
    headers = _bearer(token) if token else {}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://littoral", headers=headers, timeout=ANSWER_S, trust_env=False
    ) as http:
        yield FleetClient(http, str(socket), folder)


def _prepare_httpx() -> None:
    """Imports httpx without its own command line, which draws in rich and is half of what httpx costs at a command's start. httpx
    does without it where it cannot be imported."""
    if "httpx" not in sys.modules:
        sys.modules["httpx._main"] = None  # type: ignore[assignment]
        import httpx  # noqa: F401

        del sys.modules["httpx._main"]


@asynccontextmanager
async def client_of(profile: LoginProfile) -> AsyncIterator[FleetClient]:
    _prepare_httpx()
    import httpx

    try:
        context = ssl.create_default_context(cadata=profile.ca_pem or None)
    except ssl.SSLError as error:
        raise BadInput(f"the CA of {profile.url}: is no certificate: {error.reason}", hint="give a file in PEM") from error
    async with httpx.AsyncClient(base_url=profile.url, headers=_bearer(profile.token), verify=context, timeout=ANSWER_S) as http:
        yield FleetClient(http, profile.url)


def _bearer(token: str) -> dict[str, str]:
    if not token.isascii() or not token.isprintable():
        raise BadInput("token: has characters that no token has", hint="it is one line that begins with litt_")
    return {"authorization": f"Bearer {token}"}
