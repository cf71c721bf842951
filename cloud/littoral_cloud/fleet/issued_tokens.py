"""Join tokens: permission to enrol, for a time and for a number of nodes. The ledger has the SHA-256 of the secret alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from littoral.errors import BadInput, NotFound
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.records import dump, load

LEAST_OF_ID = 6
"""Characters of an id that name a token."""
MAX_TTL_S = 366 * 24 * 3600.0
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}")
_MOST_LABELS = 64
_MOST_VALUE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Permission to enrol. The secret itself is never stored: its SHA-256 is the id."""

    name: str
    expires_at: float
    uses_left: int
    labels: Mapping[str, str] = field(default_factory=dict)
    ask: bool = False  # nodes that are not expected wait for an operator
    ca_sha256: str = ""  # that its join line names; "": of a token from before the field
    schema: int = 1


class TokenState(StrEnum):
    USABLE = "usable"
    SPENT = "spent"
    EXPIRED = "expired"

    @classmethod
    def of(cls, token: Token, now: float) -> TokenState:
        if now >= token.expires_at:
            return cls.EXPIRED
        return cls.USABLE if token.uses_left > 0 else cls.SPENT


def token_id(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


async def create_token(
    ledger: Ledger,
    name: str,
    ttl_s: float,
    uses: int,
    labels: Mapping[str, str],
    now: float,
    new_secret: Callable[[int], str],
    *,
    actor: str = "operator",
    ask: bool = False,
    ca_sha256: str = "",
) -> tuple[str, Token]:
    """Makes a token and returns its secret, once: the secret is never stored.

    Args:
        ca_sha256: of the root that its join line names.
        new_secret: makes a secret text from this number of random bytes: `secrets.token_urlsafe`.

    Raises:
        BadInput: a value is out of range.
    """
    if not 0 < ttl_s <= MAX_TTL_S:
        raise BadInput(f"ttl_s: {ttl_s:g} must be more than 0 and at most {MAX_TTL_S:g}", hint="like --ttl 24h")
    if not 1 <= uses <= 1_000_000:
        raise BadInput(f"uses: {uses} must be between 1 and 1,000,000", hint="1: a token for one node")
    if not name or len(name) > 63 or not name.isprintable():
        raise BadInput(f"name: {name[:80]!r} must be 1 to 63 printable characters", hint="like gateway-7")
    _check_labels(labels)
    secret = new_secret(32)
    token = Token(
        name=name, expires_at=float(int(now + ttl_s)), uses_left=uses, labels=dict(labels), ca_sha256=ca_sha256, ask=ask
    )
    details = {"uses": uses, "expires_at": token.expires_at}
    write = Write("token", token_id(secret), dump(token), 0)
    await ledger.commit(Change((write,), (Audit("token.created", name, actor, details),)))
    return secret, token


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > _MOST_LABELS:
        raise BadInput(f"labels: {len(labels)} are more than {_MOST_LABELS}", hint="a node has few labels, like site=harbour")
    for key, value in labels.items():
        if not _LABEL.fullmatch(key) or len(value) > _MOST_VALUE or not value.isprintable():
            raise BadInput(f"labels: {key[:80]!r}: {value[:80]!r} cannot be one", hint="like site=harbour")


def is_token(wanted: str, id: str, name: str) -> bool:
    """Whether a token is wanted by its name, its id, or the beginning of its id. A shorter one would end a token by chance."""
    return wanted == name or (len(wanted) >= LEAST_OF_ID and id.startswith(wanted))


async def list_tokens(ledger: Ledger) -> Sequence[tuple[str, Token]]:
    """Id and token, the one that expires first in front."""
    return sorted(((doc.id, load(Token, doc)) for doc in await ledger.all("token")), key=lambda each: each[1].expires_at)


async def revoke_token(ledger: Ledger, wanted: str, *, actor: str, allowed: Callable[[Token], None] = lambda _: None) -> str:
    """Deletes the token of this id, beginning of an id, or name, and gives its id.

    Args:
        allowed: raises where this token must stay.

    Raises:
        NotFound: there is none. BadInput: there are several.
    """
    docs = await ledger.all("token")
    found = [doc for doc in docs if is_token(wanted, doc.id, load(Token, doc).name)]
    if not found:
        raise NotFound(f"token: none is {wanted!r}", hint="see `littoral-cloud token list`")
    if len(found) > 1:
        raise BadInput(f"token: {len(found)} are {wanted!r}", hint="give more of its id, see `littoral-cloud token list`")
    doc = found[0]
    token = load(Token, doc)
    allowed(token)
    audit = Audit("token.revoked", token.name, actor, {"id": doc.id})
    await ledger.commit(Change((Write("token", doc.id, None, doc.generation),), (audit,)))
    return doc.id
