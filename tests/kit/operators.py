"""The operator API in this process, without a socket: httpx asks the application itself."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from littoral_cloud.api.rest.app import guarded
from littoral_cloud.app import Core, open_core
from littoral_cloud.commands.use_case import Office
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.records import Enrolment, Node, dump
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
async def operators_api(data_dir: Path, **options: Any) -> AsyncIterator[OperatorsApi]:
    async with open_core(load_settings(data_dir=data_dir, **options)) as core:
        office = Office(core)
        app = web_app(office)
        transport = httpx.ASGITransport(app=guarded(app, office), client=("192.0.2.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="https://fleet.example", timeout=30) as http:
            yield OperatorsApi(core, app, http)


async def enrol(api: OperatorsApi, name: str, **labels: str) -> None:
    node = Node(
        node_id=f"id-{name}",
        name=name,
        enrolment=Enrolment.ACCEPTED,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=4e9,
        enrolled_at=0.0,
        labels=labels,
    )
    name_doc = Write("node-name", name, {"node_id": node.node_id}, 0)
    await api.core.ledger.commit(Change((Write("node", node.node_id, dump(node), 0), name_doc)))
