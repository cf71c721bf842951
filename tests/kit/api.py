"""The operator API of a coordinator, as its clients ask it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from littoral_cloud.app import Core
from littoral_cloud.local.discovery import api_socket
from littoral_cloud.trust.operator_tokens import create_operator_token
from littoral_cloud.trust.people import EVERYWHERE, Role, Scope
from tests.kit.patience import PATIENCE_S


@asynccontextmanager
async def asked(data_dir: Path, token: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """Over the socket of the coordinator on a folder; with a token its owner asks, without one the user of this process."""
    headers: Mapping[str, str] = {"authorization": f"Bearer {token}"} if token else {}
    transport = httpx.AsyncHTTPTransport(uds=str(api_socket(data_dir)))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://littoral/api/v1", headers=headers, timeout=PATIENCE_S, trust_env=False
    ) as http:
        yield http


async def token_of(core: Core, name: str, role: Role, scope: Scope = EVERYWHERE, *, ttl_s: float = 600.0) -> str:
    """The secret of a new token for a person."""
    secret, _ = await create_operator_token(
        core.ledger, name, role, scope, ttl_s, core.clock(), secrets.token_urlsafe, actor="test"
    )
    return secret


async def token_file(core: Core, folder: Path, name: str, role: Role = Role.OPERATOR) -> Path:
    """A file with the secret of a new token for a person: what LITTORAL_API_TOKEN_FILE names."""
    path = folder / f"{name}.token"
    path.touch(0o600)
    path.write_text(await token_of(core, name, role))
    return path
