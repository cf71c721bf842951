"""Which CAs and signing keys a fleet has had: the document that all coordinators follow. It holds no secret.

A fleet that never renewed either has no such document. Each CA and each signing key goes through

    introduced -> in force -> former -> retired

introduced   the one before it signed for it. Nodes hear of it in their sessions. Nothing is issued or signed with it yet.
in force     it issues the certificates of servers and nodes, or signs manifests. When every accepted node has reported that it
             knows it, or `overlap_s` after its introduction, if that is sooner.
former       the CA before, for `overlap_s` more: nodes still believe a server that shows it.
retired      nodes drop it. What it introduced stays introduced, and the coordinators go on accepting node certificates
             that it issued: a node counts by the key that the ledger names, not by its issuer. A signing key is former until
             an operator retires it, for nodes verify what it signed at every start.

`step` decides; the coordinator that has the key writes (littoral_cloud/trust/controller.py).

Example, with an overlap of 7 days: `fleet renew-ca` on Monday; on Tuesday all 200 nodes know it and it is in force; a week
later the old one is retired. With one node in a drawer it is in force after 7 days; the node learns of it when it comes back.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from littoral.errors import Conflict, NotFound
from littoral.trust_anchors import MOST, ToldAnchors
from littoral_cloud.fleet.edit import edit
from littoral_cloud.fleet.key_records import AuthorityRecord, SigningKeyRecord, encoded
from littoral_cloud.fleet.ledger import Audit, Doc, Ledger, Write
from littoral_cloud.fleet.records import Enrolment, Node, dump, load

KIND = "anchors"
ID = "fleet"
OVERLAP_S = 7 * 24 * 3600.0
ACTOR = "coordinator"


R = TypeVar("R", AuthorityRecord, SigningKeyRecord)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetAnchors:
    """Oldest first. `number` grows with everything that nodes must hear of."""

    number: int = 0
    authorities: tuple[AuthorityRecord, ...]
    signing_keys: tuple[SigningKeyRecord, ...]
    overlap_s: float = OVERLAP_S
    schema: int = 1

    @property
    def authority(self) -> AuthorityRecord:
        """In force."""
        return _in_force(self.authorities)

    @property
    def signing_key(self) -> SigningKeyRecord:
        """In force."""
        return _in_force(self.signing_keys)

    @property
    def next_authority(self) -> AuthorityRecord | None:
        return next((each for each in self.authorities if not each.in_force_at), None)

    @property
    def next_signing_key(self) -> SigningKeyRecord | None:
        return next((each for each in self.signing_keys if not each.in_force_at), None)

    @property
    def in_force(self) -> FleetAnchors:
        """Without the next CA."""
        return replace(self, authorities=tuple(each for each in self.authorities if each.in_force_at))

    @property
    def keys_in_force(self) -> FleetAnchors:
        """Without the next signing key."""
        return replace(self, signing_keys=tuple(each for each in self.signing_keys if each.in_force_at))

    @property
    def told(self) -> ToldAnchors:
        """For nodes: the last ones."""
        roots = tuple(dict.fromkeys(each.root_der for each in self.authorities))[-MOST:]
        introductions = [base64.b64decode(each.introduction) for each in self.authorities if each.introduction]
        keys = [each.introduction.encode() for each in self.signing_keys if each.introduction]
        return ToldAnchors(
            number=self.number,
            authorities=roots,
            introductions=tuple(introductions[-MOST:]),
            retired=tuple(hashlib.sha256(root).hexdigest() for root in roots if self._all_retired(root)),
            signing_keys=tuple(keys[-MOST:]),
            retired_keys=tuple(each.retirement.encode() for each in self.signing_keys[-MOST:] if each.retirement),
        )

    def _all_retired(self, root: bytes) -> bool:
        return all(each.retired_at for each in self.authorities if each.root_der == root)

    def issuer_for(self, knows: int) -> AuthorityRecord:
        """Of a certificate for a node that knows the anchors of this number: the one in force, or an earlier one.

        An agent that cannot follow takes a renewed certificate of the CA alone that it enrolled under.
        """
        known = [each for each in self.authorities if each.in_force_at and each.number <= knows]
        return known[-1] if known else self.authorities[0]


def first(certificate: bytes, root: bytes, public_key: bytes, now: float) -> FleetAnchors:
    """Of a fleet that has renewed nothing yet."""
    authority = AuthorityRecord(
        certificate=encoded(certificate), root="" if root == certificate else encoded(root), introduced_at=now, in_force_at=now
    )
    return FleetAnchors(
        authorities=(authority,),
        signing_keys=(SigningKeyRecord(public_key=encoded(public_key), introduced_at=now, in_force_at=now),),
    )


def check_no_next(next: AuthorityRecord | SigningKeyRecord | None) -> None:
    """Raises Conflict where one is introduced already. `next`: `next_authority` or `next_signing_key`."""
    if next is not None:
        what = f"CA {next.fingerprint[:16]}" if isinstance(next, AuthorityRecord) else f"signing key {next.key_id[:16]}"
        raise Conflict(f"fleet: {what} is introduced and not in force yet", hint="see `littoral-cloud fleet show`")


def with_authority(anchors: FleetAnchors, made: AuthorityRecord, now: float) -> FleetAnchors:
    """Introduces the next CA. Raises as `check_no_next`."""
    check_no_next(anchors.next_authority)
    number = anchors.number + 1
    made = replace(made, number=number, introduced_at=now, in_force_at=0.0)
    return replace(anchors, number=number, authorities=(*anchors.authorities, made))


def with_signing_key(anchors: FleetAnchors, made: SigningKeyRecord, now: float) -> FleetAnchors:
    """As `with_authority`."""
    check_no_next(anchors.next_signing_key)
    number = anchors.number + 1
    made = replace(made, number=number, introduced_at=now, in_force_at=0.0)
    return replace(anchors, number=number, signing_keys=(*anchors.signing_keys, made))


def with_retired_key(anchors: FleetAnchors, key_id: str, retirement: str) -> FleetAnchors:
    """Nodes drop this signing key. Raises NotFound, Conflict where it is in force or not yet."""
    found = next((each for each in anchors.signing_keys if each.key_id == key_id), None)
    if found is None:
        raise NotFound(f"fleet: no signing key is {key_id[:16]}", hint="see `littoral-cloud fleet show`")
    if found == anchors.signing_key or not found.in_force_at:
        hint = "run `littoral-cloud fleet renew-signing-key`, and wait until the next one is in force"
        raise Conflict(f"fleet: signing key {key_id[:16]} is in force, or not yet", hint=hint)
    keys = tuple(replace(each, retirement=retirement) if each == found else each for each in anchors.signing_keys)
    return replace(anchors, number=anchors.number + 1, signing_keys=keys)


def step(anchors: FleetAnchors, now: float, known_by_all: int) -> FleetAnchors:
    """What is due: at most the next CA and the next key come into force, and former CAs are retired.

    Args:
        known_by_all: the number of the anchors that every accepted node knows.
    """
    due = now - anchors.overlap_s
    authorities = tuple(_step_in(each, due, known_by_all, now) for each in anchors.authorities)
    keys = tuple(_step_in(each, due, known_by_all, now) for each in anchors.signing_keys)
    newest = _in_force(authorities)
    authorities = tuple(replace(each, retired_at=now) if _retires(each, newest, due) else each for each in authorities)
    retired = sum(bool(each.retired_at) for each in authorities) > sum(bool(each.retired_at) for each in anchors.authorities)
    return replace(anchors, authorities=authorities, signing_keys=keys, number=anchors.number + retired)


def due_at(anchors: FleetAnchors) -> float:
    """When `step` changes something though no node reports; infinite: never."""
    waiting = [each.introduced_at for each in (anchors.next_authority, anchors.next_signing_key) if each is not None]
    if any(not each.retired_at and each != anchors.authority and each.in_force_at for each in anchors.authorities):
        waiting.append(anchors.authority.in_force_at)
    return min(waiting, default=float("inf")) + anchors.overlap_s


def lines(before: FleetAnchors, after: FleetAnchors, actor: str = ACTOR) -> tuple[Audit, ...]:
    """For the trail: what a step did."""
    made: list[Audit] = []
    if before.authority.fingerprint != after.authority.fingerprint:
        details = {"was": before.authority.fingerprint, "is": after.authority.fingerprint}
        made.append(Audit("fleet.ca-in-force", after.authority.fingerprint, actor, details))
    if before.signing_key.key_id != after.signing_key.key_id:
        details = {"was": before.signing_key.key_id, "is": after.signing_key.key_id}
        made.append(Audit("fleet.signing-key-in-force", after.signing_key.key_id, actor, details))
    were = {each.fingerprint for each in before.authorities if each.retired_at}
    made += (
        Audit("fleet.ca-retired", each.fingerprint, actor)
        for each in after.authorities
        if each.retired_at and each.fingerprint not in were
    )
    return tuple(made)


def lacks(node: Node, number: int) -> bool:
    """Whether an accepted node has not reported that it knows the anchors of this number."""
    return node.enrolment is Enrolment.ACCEPTED and node.anchors < number


def knowing(nodes: Iterable[Node], number: int) -> tuple[int, int]:
    """(accepted nodes that know the anchors of this number, accepted nodes)."""
    accepted = [node for node in nodes if node.enrolment is Enrolment.ACCEPTED]
    return sum(not lacks(node, number) for node in accepted), len(accepted)


def known_by_all(nodes: Iterable[Node], number: int) -> int:
    """The greatest number of anchors, at most `number`, that every accepted node knows."""
    return min((node.anchors for node in nodes if node.enrolment is Enrolment.ACCEPTED), default=number)


async def note_anchors(ledger: Ledger, node_id: str, number: int) -> None:
    """A node has reported the number of the anchors that it knows."""

    def change(node: Node | None) -> Node | None:
        return replace(node, anchors=number) if node is not None else None

    await edit(ledger, Node, "node", node_id, change)


async def read_anchors(ledger: Ledger) -> tuple[FleetAnchors | None, int]:
    """And the generation of the document; (None, 0): nothing was renewed yet."""
    doc = await ledger.get(KIND, ID)
    return _read(doc), doc.generation if doc else 0


async def adopted(ledger: Ledger, own: FleetAnchors) -> tuple[Write, ...]:
    """For littoral_cloud.fleet.identity.adopt: these are the anchors from now on. Nodes hear of them under a new number."""
    found, generation = await read_anchors(ledger)
    if found is None and own.number == 0:
        return ()
    number = max(own.number, found.number + 1 if found is not None else 0)
    return (Write(KIND, ID, dump(replace(own, number=number)), generation),)


def _read(doc: Doc | None) -> FleetAnchors | None:
    return load(FleetAnchors, doc) if doc else None


def _in_force(records: Sequence[R]) -> R:
    return [each for each in records if each.in_force_at][-1]


def _step_in(each: R, due: float, known_by_all: int, now: float) -> R:
    if each.in_force_at or not (each.number <= known_by_all or each.introduced_at <= due):
        return each
    return replace(each, in_force_at=now)


def _retires(each: AuthorityRecord, newest: AuthorityRecord, due: float) -> bool:
    return each is not newest and bool(each.in_force_at) and not each.retired_at and newest.in_force_at <= due
