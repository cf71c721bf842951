"""Sign-in through OpenID Connect: the provider says who somebody is and in which groups, the settings say which role a group has.

Rules, in order:

1. The authorization code flow with PKCE, a state and a nonce. What the second half has to know of the first is in the ledger,
   under a cookie that this browser alone has, for ten minutes, and is used once.
2. The ID token is checked by authlib against the provider's keys: signature, issuer, audience, time and nonce.
3. Who is in no group that has a role is refused, with a line in the audit trail.
4. The session lasts as long as any other; a role that the provider takes away ends with it.

Specifications: OpenID Connect Core 1.0, RFC 7636.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import Response

from littoral.errors import BadInput, Unavailable
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.records import dump, load
from littoral_cloud.settings import CloudSettings
from littoral_cloud.trust.groups import parse_roles, role_in
from littoral_cloud.trust.people import Caller, Denied, NotSignedIn, Role

KIND = "provider-sign-in"
COOKIE = "__Host-littoral-provider"
DONE = "/sign-in/provider/done"
LASTS_S = 600.0
_HERE = ("127.0.0.1", "localhost", "::1")
_MOST_NAME = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfSignIn:
    """What the second half has to know: authlib's own, by its state."""

    expires_at: float
    known: Mapping[str, Any] = field(default_factory=dict)
    schema: int = 1


class Provider:
    """Args:
    url: where browsers reach the page, without a path.
    """

    def __init__(self, issuer: str, client_id: str, secret: str, roles: Mapping[str, Role], groups_claim: str, url: str) -> None:
        from authlib.integrations.base_client import OAuthError  # 10 MB, which a coordinator without a provider does without
        from authlib.integrations.starlette_client import OAuth
        from httpx import HTTPError
        from joserfc.errors import JoseError

        self._no_answer: tuple[type[Exception], ...] = (HTTPError,)
        self._wrong_answer: tuple[type[Exception], ...] = (OAuthError, JoseError, ValueError, KeyError)
        self.name = urlsplit(issuer).hostname or issuer
        self._roles = roles
        self._groups_claim = groups_claim
        self._redirect = url.rstrip("/") + DONE
        self._client: Any = OAuth().register(
            "provider",
            server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
            client_id=client_id,
            client_secret=secret,
            client_kwargs={"scope": "openid profile email groups", "code_challenge_method": "S256", "timeout": 10.0},
        )

    async def begin(self, request: Request, ledger: Ledger, now: float) -> Response:
        """Sends the browser to the provider. Raises Unavailable."""
        known: dict[str, Any] = {}
        request.scope["session"] = known
        try:
            answer: Response = await self._client.authorize_redirect(request, self._redirect)
        except (*self._no_answer, *self._wrong_answer) as error:
            raise self._away(error) from error
        cookie = secrets.token_urlsafe(32)
        half = HalfSignIn(expires_at=now + LASTS_S, known=known)
        await ledger.commit(Change((Write(KIND, _id(cookie), dump(half), 0, quiet=True),)))
        answer.set_cookie(COOKIE, cookie, max_age=int(LASTS_S), path="/", secure=True, httponly=True, samesite="lax")
        return answer

    async def finish(self, request: Request, ledger: Ledger, now: float) -> Caller:
        """Who the provider says it is. Raises NotSignedIn, Denied, Unavailable."""
        request.scope["session"] = dict((await _half(request, ledger, now)).known)
        try:
            answer = await self._client.authorize_access_token(request)
            claims = {**(answer.get("userinfo") or {})}
            if not claims:
                raise NotSignedIn(f"provider {self.name}: gave no ID token", hint="ask its admin for the scope openid")
            if self._groups_claim not in claims:
                claims |= {**await self._client.userinfo(token=answer)}
        except self._wrong_answer as error:
            raise NotSignedIn(f"provider {self.name}: {str(error)[:200]}", hint="sign in again") from error
        except self._no_answer as error:
            raise self._away(error) from error
        return await self._caller(claims, ledger)

    async def _caller(self, claims: Mapping[str, Any], ledger: Ledger) -> Caller:
        name = next((str(claims[key]) for key in ("preferred_username", "email", "sub") if claims.get(key)), "")
        name = "".join(each for each in name if each.isprintable())[:_MOST_NAME]
        groups = claims.get(self._groups_claim)
        groups = [str(group) for group in groups] if isinstance(groups, list) else []
        role = role_in(groups, self._roles)
        if not name or role is None:
            await ledger.commit(Change((), (Audit("access.denied", "session.sign-in", name or "?", {"provider": self.name}),)))
            raise Denied(f"{name or 'you'}: none of your groups at {self.name} has a role here", hint="ask an admin of the fleet")
        return Caller(name=name, role=role)

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(f"provider {self.name}: {type(error).__name__}: {str(error)[:200]}", hint="sign in with a token")


def provider_of(settings: CloudSettings, url: str) -> Provider | None:
    """The provider that the settings name; None: none. Raises BadInput."""
    if not settings.oidc_issuer:
        return None
    parts = urlsplit(settings.oidc_issuer)
    if not parts.hostname or (parts.scheme != "https" and parts.hostname not in _HERE):
        raise BadInput(f"oidc_issuer: {settings.oidc_issuer[:200]!r} is no https:// address", hint="like https://id.example.org")
    if not settings.oidc_client_id or settings.oidc_client_secret_file is None:
        raise BadInput("oidc_client_id and oidc_client_secret_file: one is missing", hint="the provider gives both")
    if not (roles := parse_roles(settings.oidc_roles)):
        raise BadInput("oidc_roles: no group has a role", hint="like LITTORAL_OIDC_ROLES=fleet-admins=admin,everyone=viewer")
    path = settings.oidc_client_secret_file
    try:
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"oidc_client_secret_file: {path} cannot be read: {error}", hint="check its owner") from error
    return Provider(settings.oidc_issuer, settings.oidc_client_id, secret, roles, settings.oidc_groups_claim, url)


def _id(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


async def _half(request: Request, ledger: Ledger, now: float) -> HalfSignIn:
    over = NotSignedIn("sign-in: took too long, or was finished already", hint="sign in again")
    cookie = request.cookies.get(COOKIE, "")
    doc = await ledger.get(KIND, _id(cookie)) if cookie else None
    if doc is None:
        raise over
    await ledger.commit(Change((Write(KIND, doc.id, None, None, quiet=True),)))
    half = load(HalfSignIn, doc)
    if now >= half.expires_at:
        raise over
    return half
