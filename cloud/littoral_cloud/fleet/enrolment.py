"""Enrolment: a join token and a certificate request become a node.

A node's id is made from its public key. So a second request with the same key is the same node: no lookup, no second enrolment,
and no second use of the token, also when two requests run at the same moment. Enrolment writes one Change: the token with one use
less, the node, its name, and its desired state (nothing yet). The script that writes the change takes the use, so that a thousand
nodes with one token do not conflict.
"""

from __future__ import annotations

import asyncio
import random
import re
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from littoral.errors import BadInput, BadToken, Conflict, NotAccepted, Revoked
from littoral_cloud.fleet.expected import ExpectedNode, expected_of
from littoral_cloud.fleet.issued_tokens import Token, TokenState, token_id
from littoral_cloud.fleet.ledger import Audit, Change, Doc, Ledger, Take, Write
from littoral_cloud.fleet.membership import OUT_FOR_EVER
from littoral_cloud.fleet.records import Desired, Enrolment, Node, dump, load

NAME_FORM = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
NODE_ID_DIGITS = 20  # 80 bits: a second key for one id cannot be found
ATTEMPTS = 20
NUMBERED = 3
"""Times that the next number behind a wanted name is tried where others take it first: then chance is put behind it."""
_BY_CHANCE = 9
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is mistaken for something else


class IssuedCertificate(Protocol):
    @property
    def der(self) -> bytes: ...
    @property
    def sha256(self) -> str: ...
    @property
    def expires_at(self) -> float: ...


class Issuer(Protocol):
    """What is needed of littoral_cloud.trust.store.Trust."""

    @property
    def threads(self) -> Executor | None: ...
    def root_named(self, fingerprint: str) -> bytes: ...
    def public_key_sha256(self, csr_der: bytes) -> str: ...
    def is_proof(self, signature: bytes, challenge: bytes, csr_der: bytes) -> bool: ...
    def issue_node(self, csr_der: bytes, node_id: str, now: float, *, knows: int | None = None) -> IssuedCertificate: ...


async def issued_by(
    authority: Issuer, csr_der: bytes, node_id: str, now: float, *, knows: int | None = None
) -> IssuedCertificate:
    """Issues a certificate: in a thread where a command signs, which may take seconds."""
    issue = partial(authority.issue_node, csr_der, node_id, now, knows=knows)
    return issue() if authority.threads is None else await asyncio.get_running_loop().run_in_executor(authority.threads, issue)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentRequest:
    token: str  # the secret
    certificate_request: bytes  # PKCS#10, DER
    node_name: str = ""  # "": the cloud chooses
    agent_version: str = ""
    hardware_class: str = ""
    hardware_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    node_id: str
    node_name: str
    certificate: bytes  # DER
    certificate_authority: bytes  # DER
    again: bool  # the node was there already


def check_name(name: str) -> str:
    """Raises BadInput where it is not [a-z0-9-], at most 63, with a letter or digit at both ends."""
    if not NAME_FORM.fullmatch(name):
        raise BadInput(f"node_name: {name[:80]!r} is no name", hint="use a-z, 0-9 and -, at most 63, no - at the ends")
    return name


def admit(token: Token | None, node: Node | None, key_sha256: str, now: float) -> bool:
    """Whether this enrols a new node (True) or gives a known one its identity again (False).

    A spent token still serves the node that spent it: its answer may have been lost on the way.

    Raises:
        BadToken: the token is unknown, expired, or spent. NotAccepted: the node was taken out of the fleet.
    """
    ask = "ask for a new one: littoral-cloud token create"
    if token is None:
        raise BadToken("token: is unknown or was revoked", hint=ask)
    state = TokenState.of(token, now)
    if state is TokenState.EXPIRED:
        raise BadToken(f"token {token.name}: expired {now - token.expires_at:.0f} s ago", hint=ask)
    if node is not None:
        if node.public_key_sha256 != key_sha256:
            raise NotAccepted(f"node {node.node_id}: belongs to another key", hint="make a new key")
        if node.enrolment in OUT_FOR_EVER:
            raise NotAccepted(f"node {node.name}: was {node.enrolment}", hint="empty the node's data folder, then enrol it anew")
        if node.enrolment is Enrolment.REVOKED:
            raise Revoked(f"node {node.name}: was revoked", hint=f"an operator may let it in: node accept {node.name}")
        return False
    if state is TokenState.SPENT:
        raise BadToken(f"token {token.name}: is spent", hint=ask)
    return True


def candidate_name(wanted: str, attempt: int, rng: random.Random) -> str:
    """The name to try: what was wanted, then with -2 to -9 behind it, then with chance behind it."""
    drawn = "".join(rng.choice(_ALPHABET) for _ in range(6))
    if not wanted:
        return f"node-{drawn}"
    if attempt == 0:
        return wanted
    suffix = f"-{attempt + 1}" if attempt < _BY_CHANCE else f"-{drawn}"
    return wanted[: 63 - len(suffix)].rstrip("-") + suffix


async def enrol(
    ledger: Ledger,
    ca: Issuer,
    request: EnrolmentRequest,
    now: float,
    rng: random.Random,
    taking: set[str] | None = None,
) -> Enrolled:
    """Trades a token and a certificate request for an identity.

    Args:
        taking: names that others in this process are about to take, for a caller that enrols many at one time.

    Raises:
        BadInput: the name or the certificate request is malformed.
        BadToken, NotAccepted: see `admit`.
        Unavailable: the ledger cannot be had; asking again is safe.
    """
    if request.node_name:
        check_name(request.node_name)
    key = ca.public_key_sha256(request.certificate_request)
    node_id = key[:NODE_ID_DIGITS]
    certificate: IssuedCertificate | None = None
    taking = set() if taking is None else taking
    for tried in range(ATTEMPTS):
        name = ""
        token_doc = await ledger.get("token", token_id(request.token))
        node_doc = await ledger.get("node", node_id)
        token = load(Token, token_doc) if token_doc else None
        known = load(Node, node_doc) if node_doc else None
        new = admit(token, known, key, now)
        assert token is not None
        assert token_doc is not None
        certificate = certificate or await issued_by(ca, request.certificate_request, node_id, now)
        if new:
            first = 0 if tried < NUMBERED else _BY_CHANCE
            expected = await expected_of(ledger, request.hardware_ids, node_id)
            wanted = (expected[1].name if expected else "") or request.node_name
            name, name_write = await _free_name(ledger, wanted, node_id, rng, taking, first=first)
            node = Node(
                node_id=node_id,
                name=name,
                enrolment=Enrolment.PENDING if token.ask and expected is None else Enrolment.ACCEPTED,
                public_key_sha256=key,
                certificate_sha256=certificate.sha256,
                certificate_expires_at=certificate.expires_at,
                enrolled_at=now,
                labels={**token.labels, **(expected[1].labels if expected else {})},
            )
            change = _first(node, token_doc.id, token, name_write, request, expected)
        else:
            assert known is not None
            assert node_doc is not None
            node = replace(
                known,
                # Also one that waited: who made the token let it in.
                enrolment=known.enrolment if token.ask else Enrolment.ACCEPTED,
                certificate_sha256=certificate.sha256,
                certificate_expires_at=certificate.expires_at,
            )
            change = _again(node, node_doc, token)
        try:
            await ledger.commit(change)
        except Conflict:
            continue  # somebody took the last use, or the name, or enrolled this very key: look again
        finally:
            taking.discard(name)
        return Enrolled(
            node_id=node_id,
            node_name=node.name,
            certificate=certificate.der,
            certificate_authority=ca.root_named(token.ca_sha256),
            again=not new,
        )
    raise Conflict("enrolment: too many at the same moment", hint="try again")


def _first(
    node: Node,
    token_id: str,
    token: Token,
    name: Write,
    request: EnrolmentRequest,
    expected: tuple[Doc, ExpectedNode] | None,
) -> Change:
    used = () if expected is None else (_used(*expected, node.node_id),)
    details = {
        "name": node.name,
        "token": token.name,
        "key": node.public_key_sha256,
        "certificate": node.certificate_sha256,
        "agent_version": request.agent_version[:64],
        "hardware_class": request.hardware_class[:64],
        "state": node.enrolment.value,
        "expected": expected[0].id if expected else "",
    }
    return Change(
        (
            Take("token", token_id, "uses_left"),
            Write("node", node.node_id, dump(node), 0),
            name,
            Write("desired", node.node_id, dump(Desired()), None),
            *used,
        ),
        (Audit("node.enrolled", node.node_id, f"token {token.name}", details),),
    )


def _used(doc: Doc, expected: ExpectedNode, node_id: str) -> Write:
    return Write(doc.kind, doc.id, dump(replace(expected, node_id=node_id)), doc.generation)


def _again(node: Node, doc: Doc, token: Token) -> Change:
    details = {"name": node.name, "certificate": node.certificate_sha256}
    return Change(
        (Write("node", node.node_id, dump(node), doc.generation),),
        (Audit("node.certificate-issued", node.node_id, f"token {token.name}", details),),
    )


async def _free_name(
    ledger: Ledger, wanted: str, node_id: str, rng: random.Random, taking: set[str], *, first: int
) -> tuple[str, Write]:
    """A name that no node of the fleet has, and the write that takes it; until it is written it is in `taking`. The name of a
    node that was taken out of the fleet is free.

    `first`: of the attempts of `candidate_name`.
    """
    for attempt in range(first, first + ATTEMPTS):
        name = candidate_name(wanted, attempt, rng)
        if name in taking:
            continue
        taking.add(name)
        try:
            generation = await _generation_of_free(ledger, name)
        except BaseException:
            taking.discard(name)
            raise
        if generation is not None:
            return name, Write("node-name", name, {"node_id": node_id}, generation)
        taking.discard(name)
    raise Conflict(f"node_name: {wanted!r} and {ATTEMPTS} like it are taken", hint="choose another")


async def _generation_of_free(ledger: Ledger, name: str) -> int | None:
    """What the document of a free name is to be written over; None where a node has the name."""
    if (doc := await ledger.get("node-name", name)) is None:
        return 0
    holder = await ledger.get("node", str(doc.body["node_id"]))
    free = holder is None or load(Node, holder).enrolment in OUT_FOR_EVER
    return doc.generation if free else None
