"""Sessions of browsers: who signed in with what, until when; and links that sign in once. The ledger has the SHA-256 of a cookie
or a code alone, as the id.

A session has the rights of the token that it was opened with, and ends with it. One that the machine's own user opened has no
token: it has the rights that it was given, until it ends. Each has a secret for forms (CSRF): a page of another site can make a
browser send the cookie, but it cannot read that secret.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from littoral.errors import BadInput, Conflict
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.records import dump, load
from littoral_cloud.trust.operator_tokens import KIND as TOKEN
from littoral_cloud.trust.operator_tokens import OperatorToken, caller_of, caller_with
from littoral_cloud.trust.people import Caller, NotSignedIn, Role, Scope

KIND = "web-session"
LINK = "sign-in-link"
LASTS_S = 12 * 3_600.0
LINK_S = 60.0
"""For how long a link signs in, where nothing else was asked."""
LONGEST_LINK_S = 900.0
_SECRET_BYTES = 32
NewSecret = Callable[[int], str]
"""Makes a text from this number of random bytes: `secrets.token_urlsafe`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Those of the operator's token of this id, or, where that is "", what stands here."""

    token_id: str = ""
    name: str = ""
    role: str = Role.VIEWER.value
    labels: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSession:
    csrf: str
    expires_at: float
    rights: Rights
    schema: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInLink:
    expires_at: float
    rights: Rights
    schema: int = 1


def _id(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


async def sign_in(ledger: Ledger, secret: str, now: float, new_secret: NewSecret) -> tuple[str, Caller]:
    """Opens a session for who has this token; gives the cookie. Raises NotSignedIn."""
    caller = await caller_of(ledger, secret, now)
    return await open_session(ledger, caller, now, new_secret), caller


async def open_session(ledger: Ledger, caller: Caller, now: float, new_secret: NewSecret) -> str:
    """Opens a session for a caller who is known already; gives the cookie."""
    cookie = new_secret(_SECRET_BYTES)
    session = WebSession(csrf=new_secret(_SECRET_BYTES), expires_at=now + LASTS_S, rights=_rights(caller))
    line = Audit("session.signed-in", caller.name, caller.name)
    await ledger.commit(Change((Write(KIND, _id(cookie), dump(session), 0),), (line,)))
    return cookie


async def create_link(ledger: Ledger, caller: Caller, now: float, new_secret: NewSecret, lasts_s: float = LINK_S) -> str:
    """Gives a code that signs in once, as this caller, within this time. Raises BadInput."""
    if not 0 < lasts_s <= LONGEST_LINK_S:
        raise BadInput(f"ttl_s: {lasts_s:g} must be more than 0 and at most {LONGEST_LINK_S:g}", hint="like --ttl 5m")
    code = new_secret(_SECRET_BYTES)
    link = SignInLink(expires_at=now + lasts_s, rights=_rights(caller))
    line = Audit("session.link-created", caller.name, caller.name)
    await ledger.commit(Change((Write(LINK, _id(code), dump(link), 0),), (line,)))
    return code


async def use_link(ledger: Ledger, code: str, now: float, new_secret: NewSecret) -> str:
    """Opens the session of a link, which opens nothing any more; gives the cookie.

    Raises NotSignedIn where the code is unknown, too old, or was used.
    """
    gone = NotSignedIn("link: is unknown, too old, or was used", hint="littoral-cloud page gives another one")
    doc = await ledger.get(LINK, _id(code)) if code else None
    if doc is None:
        raise gone
    try:
        await ledger.commit(Change((Write(LINK, doc.id, None, doc.generation),)))
    except Conflict:
        raise gone from None  # another one was faster
    link = load(SignInLink, doc)
    if now >= link.expires_at:
        raise gone
    caller = await _caller(ledger, link.rights, now)
    return await open_session(ledger, caller, now, new_secret)


async def session_of(ledger: Ledger, cookie: str, now: float) -> tuple[Caller, WebSession]:
    """Raises NotSignedIn where the session is unknown or over, or its token is."""
    doc = await ledger.get(KIND, _id(cookie))
    session = load(WebSession, doc) if doc is not None else None
    if session is None or now >= session.expires_at:
        raise NotSignedIn("session: is over", hint="sign in again")
    return await _caller(ledger, session.rights, now), session


def _rights(caller: Caller) -> Rights:
    if caller.id:
        return Rights(token_id=caller.id)
    scope = caller.scope
    return Rights(name=caller.name, role=caller.role.value, labels=dict(scope.labels), models=scope.models)


async def _caller(ledger: Ledger, of: Rights, now: float) -> Caller:
    if not of.token_id:
        return Caller(name=of.name, role=Role(of.role), scope=Scope(labels=of.labels, models=of.models))
    token = await ledger.get(TOKEN, of.token_id)
    if token is None:
        raise NotSignedIn("session: its token is gone", hint="sign in again")
    return caller_with(token.id, load(OperatorToken, token), now)


def right_form(session: WebSession, csrf: str) -> bool:
    """Whether a request comes from a page of ours."""
    return hmac.compare_digest(session.csrf.encode(), csrf.encode())


async def sign_out(ledger: Ledger, cookie: str) -> None:
    """Ends a session. One that is over already stays so."""
    await ledger.commit(Change((Write(KIND, _id(cookie), None, None),)))
