"""Use cases of operators: their tokens."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from littoral_cloud.commands.paging import Page, moment_key, page_of
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.terminal.text import when
from littoral_cloud.trust.operator_tokens import (
    OperatorToken,
    create_operator_token,
    list_operator_tokens,
    operator_token_id,
    renew_operator_token,
    revoke_operator_token,
)
from littoral_cloud.trust.people import Caller, Role, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTokenShown:
    id: str
    name: str
    role: Role
    state: str
    labels: Mapping[str, str]
    models: tuple[str, ...]
    expires: str
    created: str
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOperatorToken:
    """`secret` is shown this once."""

    secret: str
    token: OperatorTokenShown


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewedOperatorToken:
    """`secret`: None where it is the one from before; else it is shown this once."""

    secret: str | None
    token: OperatorTokenShown


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoAmI:
    name: str
    role: Role
    labels: Mapping[str, str]
    models: tuple[str, ...]


@use_case("operator.whoami", Role.VIEWER)
async def whoami(office: Office, caller: Caller) -> WhoAmI:
    """Who asks."""
    return WhoAmI(name=caller.name, role=caller.role, labels=dict(caller.scope.labels), models=caller.scope.models)


@use_case("operator-token.create", Role.ADMIN)
async def create(
    office: Office, caller: Caller, *, name: str, role: Role, labels: Mapping[str, str], models: tuple[str, ...], ttl_s: float
) -> NewOperatorToken:
    """Makes a token for a person or a script."""
    now, scope = office.core.clock(), Scope(labels=labels, models=models)
    secret, token = await create_operator_token(
        office.core.ledger, name, role, scope, ttl_s, now, secrets.token_urlsafe, actor=caller.name
    )
    return NewOperatorToken(secret=secret, token=_shown(operator_token_id(secret), token, now))


@use_case("operator-token.list", Role.ADMIN)
async def page(office: Office, caller: Caller, *, after: str, limit: int) -> Page[OperatorTokenShown]:
    """Tokens without their secrets, the one that expires first in front."""
    now = office.core.clock()
    return page_of(
        await list_operator_tokens(office.core.ledger),
        lambda each: moment_key(each[1].expires_at, each[0]),
        lambda each: _shown(*each, now),
        of="operator-tokens",
        after=after,
        limit=limit,
    )


@use_case("operator-token.renew", Role.ADMIN)
async def renew(office: Office, caller: Caller, *, token: str, ttl_s: float, new_secret: bool) -> RenewedOperatorToken:
    """Gives a token another expiry, and another secret where that is asked; the one before opens nothing then."""
    now = office.core.clock()
    make = secrets.token_urlsafe if new_secret else None
    id, secret, after = await renew_operator_token(office.core.ledger, token, ttl_s, now, make, actor=caller.name)
    return RenewedOperatorToken(secret=secret, token=_shown(id, after, now))


@use_case("operator-token.revoke", Role.ADMIN)
async def revoke(office: Office, caller: Caller, *, token: str) -> OperatorTokenShown:
    """Ends a token, by its name, id, or the beginning of its id."""
    id, after = await revoke_operator_token(office.core.ledger, token, actor=caller.name)
    return _shown(id, after, office.core.clock())


def _shown(id: str, token: OperatorToken, now: float) -> OperatorTokenShown:
    return OperatorTokenShown(
        id=id,
        name=token.name,
        role=Role(token.role),
        state=token.state(now),
        labels=dict(token.labels),
        models=token.models,
        expires=when(token.expires_at),
        created=when(token.created_at),
        created_by=token.created_by,
    )
