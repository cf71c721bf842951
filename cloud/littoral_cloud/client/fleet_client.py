"""The operator API as a command asks it: over the socket of the coordinator on this machine's data folder, or over the network
with a profile that `littoral-cloud login` has written.

Where no coordinator runs on the data folder, the command serves itself for its own time: the same paths over a socket of its own,
so that there is one way of doing each thing.
"""

from __future__ import annotations

import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from littoral.errors import FleetError, Unavailable
from littoral_cloud.client.errors import error_from
from littoral_cloud.client.profile import LoginProfile, active_profile
from littoral_cloud.local.discovery import Serving, api_socket
from littoral_cloud.settings import CloudSettings

if TYPE_CHECKING:
    import httpx

PATHS = "/api/v1"
ANSWER_S = 60.0

Query = Mapping[str, str | int | float | Sequence[str] | None]


def part(text: str) -> str:
    """A name as one part of a path."""
    return quote(text, safe="")


class FleetClient:
    """Every method raises the FleetError that the coordinator answered, or Unavailable."""

    def __init__(self, http: httpx.AsyncClient, where: str) -> None:
        self._http = http
        self.where = where

    async def get(self, path: str, **query: str | int | float | Sequence[str] | None) -> Any:
        return await self._ask("GET", path, query)

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return await self._ask("POST", path, {}, body)

    async def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._ask("PUT", path, {}, body)

    async def delete(self, path: str) -> Any:
        return await self._ask("DELETE", path, {})

    @asynccontextmanager
    async def events(self, *kinds: str) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        """What changes, from the moment the context is entered: "kind", "id" and "generation" of each."""
        import httpx

        try:
            async with self._http.stream("GET", f"{PATHS}/events", params={"kind": kinds}, timeout=None) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise error_from(answer)
                lines = answer.aiter_lines()
                await anext(lines)  # ": open"
                yield _changes(lines)
        except httpx.HTTPError as error:
            raise self._away(error) from error

    async def _ask(self, method: str, path: str, query: Query, body: Mapping[str, Any] | None = None) -> Any:
        import httpx

        given = {name: value for name, value in query.items() if value is not None}
        try:
            answer = await self._http.request(method, PATHS + path, params=given, json=body)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        if answer.is_error:
            raise error_from(answer)
        return answer.json() if answer.content else None

    def _away(self, error: Exception) -> FleetError:
        return Unavailable(f"coordinator at {self.where}: {error or type(error).__name__}", hint="littoral-cloud doctor")


async def _changes(lines: AsyncIterator[str]) -> AsyncIterator[Mapping[str, Any]]:
    async for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


@asynccontextmanager
async def fleet_client(settings: CloudSettings, *, folder_was_named: bool) -> AsyncIterator[FleetClient]:
    """Args:
    folder_was_named: on the command line: then no profile counts.

    Raises NotFound where the data folder holds no coordinator's data; Unavailable.
    """
    if not folder_was_named and (profile := active_profile()) is not None:
        async with client_of(profile) as client:
            yield client
    elif Serving.read(settings.data_dir) is not None:
        async with _over(api_socket(settings.data_dir)) as client:
            yield client
    else:
        from littoral_cloud.client.alone import served_here

        with tempfile.TemporaryDirectory(prefix="littoral-") as folder:
            async with served_here(settings, Path(folder) / "api.sock") as socket, _over(socket) as client:
                yield client


@asynccontextmanager
async def _over(socket: Path) -> AsyncIterator[FleetClient]:
    import httpx  # costs 0.1 s, which help does without

    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://littoral", timeout=ANSWER_S, trust_env=False) as http:
        yield FleetClient(http, str(socket))


@asynccontextmanager
async def client_of(profile: LoginProfile) -> AsyncIterator[FleetClient]:
    import httpx

    context = ssl.create_default_context(cadata=profile.ca_pem or None)
    headers = {"authorization": f"Bearer {profile.token}"}
    async with httpx.AsyncClient(base_url=profile.url, headers=headers, verify=context, timeout=ANSWER_S) as http:
        yield FleetClient(http, profile.url)
