"""Use cases of browser sessions."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from littoral.errors import Unavailable
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.local.discovery import Serving
from littoral_cloud.terminal.text import when
from littoral_cloud.trust.people import Caller, Role
from littoral_cloud.trust.web_sessions import create_link


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSignInLink:
    """`path`: of the page; it opens a session once. `url`: the same with the address of the page."""

    url: str
    path: str
    expires: str


@use_case("session.link", Role.VIEWER)
async def link(office: Office, caller: Caller, *, ttl_s: float) -> NewSignInLink:
    """Makes a link that signs in to the page once, with the caller's own rights. Raises Unavailable, BadInput."""
    folder, now = office.core.settings.data_dir, office.core.clock()
    serving = Serving.read(folder)
    if serving is None or not serving.api:
        raise Unavailable(f"page: no coordinator runs on {folder}", hint="littoral-cloud serve")
    code = await create_link(office.core.ledger, caller, now, secrets.token_urlsafe, ttl_s)
    path = f"/enter?code={code}"
    where = office.core.settings.public_url.rstrip("/") or f"https://{serving.api}"
    return NewSignInLink(url=where + path, path=path, expires=when(now + ttl_s))
