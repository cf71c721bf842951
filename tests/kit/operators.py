"""The operator API in this process, without a socket: httpx asks the application itself."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI

from littoral_cloud.api.rest.app import guarded
from littoral_cloud.app import Core, open_core
from littoral_cloud.commands.use_case import Office
from littoral_cloud.settings import load_settings
from littoral_cloud.trust.operator_tokens import create_operator_token
from littoral_cloud.trust.people import EVERYWHERE, Role, Scope
from littoral_cloud.web.app import web_app


@dataclass(frozen=True, slots=True)
class OperatorsApi:
    core: Core
    app: FastAPI
    http: httpx.AsyncClient

    async def token(self, role: Role, *, name: str = "", scope: Scope = EVERYWHERE, ttl_s: float = 600.0) -> str:
        """The secret of a new token."""
        secret, _ = await create_operator_token(
            self.core.ledger,
            name or role.value,
            role,
            scope,
            ttl_s,
            self.core.clock(),
            secrets.token_urlsafe,
            actor="test",
        )
        return secret

    async def bearer(self, role: Role, *, name: str = "", scope: Scope = EVERYWHERE) -> dict[str, str]:
        """The header of a new token."""
        return {"authorization": f"Bearer {await self.token(role, name=name, scope=scope)}"}


@asynccontextmanager
async def operators_api(data_dir: Path) -> AsyncIterator[OperatorsApi]:
    async with open_core(load_settings(data_dir=data_dir)) as core:
        app = web_app(Office(core))
        transport = httpx.ASGITransport(app=guarded(app), client=("192.0.2.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="https://fleet.example", timeout=30) as http:
            yield OperatorsApi(core, app, http)
