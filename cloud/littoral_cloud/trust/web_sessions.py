"""Sessions of browsers: who signed in with what, until when. The ledger has the SHA-256 of the cookie alone, as the id.

A session has the rights of the token that it was opened with, and ends with it. Each has a secret for forms (CSRF): a page of
another site can make a browser send the cookie, but it cannot read that secret.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.records import dump, load
from littoral_cloud.trust.operator_tokens import KIND as TOKEN
from littoral_cloud.trust.operator_tokens import OperatorToken, caller_of, caller_with
from littoral_cloud.trust.people import Caller, NotSignedIn

KIND = "web-session"
LASTS_S = 12 * 3_600.0
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSession:
    token_id: str  # of the operator's token
    csrf: str
    expires_at: float
    schema: int = 1


def _id(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


async def sign_in(ledger: Ledger, secret: str, now: float, new_secret: Callable[[int], str]) -> tuple[str, Caller]:
    """Opens a session for who has this token; gives the cookie. Raises NotSignedIn."""
    caller = await caller_of(ledger, secret, now)
    cookie = new_secret(_SECRET_BYTES)
    session = WebSession(token_id=caller.id, csrf=new_secret(_SECRET_BYTES), expires_at=now + LASTS_S)
    line = Audit("session.signed-in", caller.name, caller.name)
    await ledger.commit(Change((Write(KIND, _id(cookie), dump(session), 0),), (line,)))
    return cookie, caller


async def session_of(ledger: Ledger, cookie: str, now: float) -> tuple[Caller, WebSession]:
    """Raises NotSignedIn where the session is unknown or over, or its token is."""
    doc = await ledger.get(KIND, _id(cookie))
    session = load(WebSession, doc) if doc is not None else None
    if session is None or now >= session.expires_at:
        raise NotSignedIn("session: is over", hint="sign in again")
    token = await ledger.get(TOKEN, session.token_id)
    if token is None:
        raise NotSignedIn("session: its token is gone", hint="sign in again")
    return caller_with(token.id, load(OperatorToken, token), now), session


def right_form(session: WebSession, csrf: str) -> bool:
    """Whether a request comes from a page of ours."""
    return hmac.compare_digest(session.csrf.encode(), csrf.encode())


async def sign_out(ledger: Ledger, cookie: str) -> None:
    """Ends a session. One that is over already stays so."""
    await ledger.commit(Change((Write(KIND, _id(cookie), None, None),)))
