"""Use cases of join tokens: permission for nodes to enrol."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from littoral.errors import BadInput, Unavailable
from littoral.identity import JoinLine
from littoral.transport import asked_at, join_address, split_address
from littoral_cloud.commands.paging import Page, moment_key, page_of
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet.enrolment import check_name
from littoral_cloud.fleet.issued_tokens import Token, TokenState, create_token, list_tokens, revoke_token
from littoral_cloud.local.discovery import SERVE_FILE, Serving
from littoral_cloud.settings import CloudSettings
from littoral_cloud.terminal.text import when
from littoral_cloud.trust.people import Caller, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinTokenShown:
    """A token without its secret."""

    id: str
    name: str
    state: str
    uses_left: int
    expires: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJoinToken:
    """`join`: the line for a node, which is shown this once. `expires_at`: seconds since 1970-01-01 UTC."""

    join: str
    name: str
    expires_at: float
    uses: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedToken:
    id: str
    state: str = "revoked"


@use_case("token.create", Role.OPERATOR)
async def create(
    office: Office,
    caller: Caller,
    *,
    name: str,
    ttl_s: float,
    uses: int,
    labels: Mapping[str, str],
    address: str,
    ask: bool = False,
    node_name: str = "",
) -> NewJoinToken:
    """Makes a token for nodes to enrol with.

    Args:
        ask: nodes that are not expected (node.import) wait for an operator.
        address: host:port of the enrolment listener, as nodes reach it; "": the one that the coordinator knows.
        node_name: that a node will ask for with it; a name that no node can have is refused here, not at the node.
    """
    if node_name:
        check_name(node_name)
    core, name = office.core, name or "unnamed"
    caller.needs_node(f"{name} with these labels", labels)
    address = _checked_address(address) if address else default_address(core.settings)
    root = core.trust.ca.root_fingerprint
    secret, token = await create_token(
        core.ledger, name, ttl_s, uses, labels, core.clock(), secrets.token_urlsafe, actor=caller.name, ca_sha256=root, ask=ask
    )
    line = JoinLine(address, secret, int(token.expires_at), root).render()
    return NewJoinToken(join=line, name=token.name, expires_at=token.expires_at, uses=uses, address=address)


@use_case("token.list", Role.VIEWER)
async def page(office: Office, caller: Caller, *, after: str, limit: int) -> Page[JoinTokenShown]:
    """Tokens without their secrets, the one that expires first in front."""
    now = office.core.clock()
    mine = [each for each in await list_tokens(office.core.ledger) if caller.scope.has_node(each[1].labels)]
    return page_of(
        mine,
        lambda each: moment_key(each[1].expires_at, each[0]),
        lambda each: _shown(*each, now),
        of="tokens",
        after=after,
        limit=limit,
    )


@use_case("token.revoke", Role.OPERATOR)
async def revoke(office: Office, caller: Caller, *, token: str) -> RevokedToken:
    """Ends a token, by its name, id, or the beginning of its id. Nodes that enrolled with it stay."""

    def allowed(found: Token) -> None:
        caller.needs_node(f"{found.name} with these labels", found.labels)

    return RevokedToken(id=await revoke_token(office.core.ledger, token, actor=caller.name, allowed=allowed))


def default_address(settings: CloudSettings) -> str:
    """The enrolment address of this folder's coordinator: its first public name, else the address that it binds, and its port.

    Raises Unavailable where no coordinator runs.
    """
    if (serving := Serving.read(settings.data_dir)) is None:
        raise Unavailable(
            f"no coordinator runs on {settings.data_dir}, so no node could enrol",
            hint="start it: littoral-cloud serve; or name another coordinator with --address HOST:PORT",
        )
    bound, port = split_address(serving.enrolment, SERVE_FILE)
    return join_address(settings.public_names[0] if settings.public_names else asked_at(bound), port)


def _checked_address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or re.search(r"[\s/@]", host):
        raise BadInput(f"address: {address[:80]!r} is not host:port", hint="like fleet.example:7443")
    return address


def _shown(id: str, token: Token, now: float) -> JoinTokenShown:
    state = TokenState.of(token, now).value
    return JoinTokenShown(
        id=id,
        name=token.name,
        state=state,
        uses_left=token.uses_left,
        expires=when(token.expires_at),
        labels=dict(token.labels),
    )
