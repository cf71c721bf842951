"""Tokens of operators: a role, where it counts, and until when. The ledger has the SHA-256 of the secret alone, as the id."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from littoral.errors import BadInput, Conflict, NotFound
from littoral_cloud.fleet.edit import revise
from littoral_cloud.fleet.issued_tokens import is_token
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.records import dump, load
from littoral_cloud.trust.people import Caller, NotSignedIn, Role, Scope

KIND = "operator-token"
PREFIX = "litt_"
"""Of every secret, so that a scanner of repositories knows one."""
MAX_TTL_S = 366 * 86_400.0
_SECRET_BYTES = 32
_MOST_NAME = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorToken:
    """`revoked_by`: empty where it is not. Times are seconds since 1970-01-01 UTC."""

    name: str
    role: str
    expires_at: float
    created_at: float
    created_by: str
    labels: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    revoked_by: str = ""
    schema: int = 1

    def state(self, now: float) -> str:
        if self.revoked_by:
            return "revoked"
        return "expired" if now >= self.expires_at else "usable"


def operator_token_id(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


async def create_operator_token(
    ledger: Ledger,
    name: str,
    role: Role,
    scope: Scope,
    ttl_s: float,
    now: float,
    new_secret: Callable[[int], str],
    *,
    actor: str,
) -> tuple[str, OperatorToken]:
    """Makes a token and gives its secret, once: it is never stored.

    Args:
        new_secret: makes a text from this number of random bytes: `secrets.token_urlsafe`.

    Raises BadInput where a value cannot be.
    """
    _check_ttl(ttl_s)
    if not name or len(name) > _MOST_NAME or not name.isprintable():
        raise BadInput(f"name: {name[:80]!r} must be 1 to {_MOST_NAME} printable characters", hint="like ci-pipeline")
    secret = PREFIX + new_secret(_SECRET_BYTES)
    token = OperatorToken(
        name=name,
        role=role.value,
        expires_at=float(int(now + ttl_s)),
        created_at=now,
        created_by=actor,
        labels=dict(scope.labels),
        models=scope.models,
    )
    line = Audit("operator-token.created", name, actor, {"role": role.value, "scope": str(scope), "expires_at": token.expires_at})
    await ledger.commit(Change((Write(KIND, operator_token_id(secret), dump(token), 0),), (line,)))
    return secret, token


def _check_ttl(ttl_s: float) -> None:
    if not 0 < ttl_s <= MAX_TTL_S:
        raise BadInput(f"ttl_s: {ttl_s:g} must be more than 0 and at most {MAX_TTL_S:g}", hint="like --ttl 90d")


async def caller_of(ledger: Ledger, secret: str, now: float) -> Caller:
    """Who has this secret. Raises NotSignedIn where it is unknown, expired or revoked."""
    id = operator_token_id(secret)
    doc = await ledger.get(KIND, id)
    if doc is None:
        raise NotSignedIn("token: is not known here", hint="littoral-cloud login, or ask an admin for a token")
    return caller_with(id, load(OperatorToken, doc), now)


def caller_with(id: str, token: OperatorToken, now: float) -> Caller:
    """Who has the token of this id. Raises NotSignedIn where it is expired or revoked."""
    if (state := token.state(now)) != "usable":
        raise NotSignedIn(f"token {token.name}: is {state}", hint="ask an admin for another one")
    scope = Scope(labels=token.labels, models=token.models)
    return Caller(name=token.name, role=Role(token.role), scope=scope, id=id)


async def list_operator_tokens(ledger: Ledger) -> Sequence[tuple[str, OperatorToken]]:
    """Id and token, the one that expires first in front."""
    return sorted(((doc.id, load(OperatorToken, doc)) for doc in await ledger.all(KIND)), key=lambda each: each[1].expires_at)


async def renew_operator_token(
    ledger: Ledger, wanted: str, ttl_s: float, now: float, new_secret: Callable[[int], str] | None, *, actor: str
) -> tuple[str, str | None, OperatorToken]:
    """Gives a token another expiry; gives its id, its new secret and itself.

    Args:
        wanted: its id, the beginning of that, or its name.
        new_secret: makes a text from this number of random bytes; None: the secret stays, and the second value is None.

    Raises NotFound; BadInput where there are several, or the time cannot be; Conflict where it is revoked, or changed at this
    moment.
    """
    _check_ttl(ttl_s)
    id, token = await _find(ledger, wanted)
    if token.revoked_by:
        raise Conflict(
            f"operator token {token.name}: was revoked by {token.revoked_by}", hint="make another one: operator create"
        )
    after = replace(token, expires_at=float(int(now + ttl_s)))
    details = {"id": id, "expires_at": after.expires_at, "new_secret": new_secret is not None}
    line = Audit("operator-token.renewed", token.name, actor, details)
    doc = await ledger.get(KIND, id)
    generation = doc.generation if doc is not None else 0
    if new_secret is None:
        await ledger.commit(Change((Write(KIND, id, dump(after), generation),), (line,)))
        return id, None, after
    secret = PREFIX + new_secret(_SECRET_BYTES)
    writes = (Write(KIND, id, None, generation), Write(KIND, operator_token_id(secret), dump(after), 0))
    await ledger.commit(Change(writes, (line,)))
    return operator_token_id(secret), secret, after


async def _find(ledger: Ledger, wanted: str) -> tuple[str, OperatorToken]:
    """The token of this id, beginning of an id, or name; a revoked one only where no other is called so. Raises NotFound;
    BadInput where there are several."""
    every = await list_operator_tokens(ledger) if wanted else ()
    found = [(id, token) for id, token in every if is_token(wanted, id, token.name)]
    usable = [each for each in found if not each[1].revoked_by] or found
    if not usable:
        raise _missing(wanted)
    if len(usable) > 1:
        raise BadInput(f"operator token: {len(usable)} are {wanted!r}", hint="give more of its id")
    return usable[0]


def _missing(wanted: str) -> NotFound:
    return NotFound(f"operator token: none is {wanted[:80]!r}", hint="see `littoral-cloud operator list`")


async def revoke_operator_token(ledger: Ledger, wanted: str, *, actor: str) -> tuple[str, OperatorToken]:
    """Revokes the token of this id, beginning of an id, or name. Raises NotFound; BadInput where there are several."""
    id, token = await _find(ledger, wanted)
    line = Audit("operator-token.revoked", token.name, actor, {"id": id})
    after = await revise(
        ledger, OperatorToken, KIND, id, lambda each: replace(each, revoked_by=actor), line, missing=_missing(wanted)
    )
    return id, after
