"""Use cases of what makes coordinators one fleet: its CA, its signing key, its store of blobs, and the next ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from littoral.errors import BadInput
from littoral_cloud.app import Core, identity_of
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet.anchors import FleetAnchors, adopted, knowing, lacks
from littoral_cloud.fleet.identity import FleetIdentity, differing, read_identity
from littoral_cloud.fleet.identity import adopt as adopt_identity
from littoral_cloud.fleet.key_records import AuthorityRecord, SigningKeyRecord
from littoral_cloud.fleet.records import Node, load
from littoral_cloud.releases.signed_by import in_use_by
from littoral_cloud.rollouts.wording import first_of
from littoral_cloud.terminal.text import when
from littoral_cloud.trust import renewal
from littoral_cloud.trust.given_keys import GivenCa
from littoral_cloud.trust.people import Caller, Role
from littoral_cloud.trust.store import numbered


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A CA or a signing key. Of one that is introduced: `in_force_by` at the latest, and `not_yet`, a few of the nodes
    that have not reported that they know it."""

    id: str
    state: str
    nodes_that_know_it: int
    accepted_nodes: int
    in_force_by: str | None = None
    not_yet: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetKeys:
    """`fleet`: what its coordinators must have; `here`: what this one has. After a renewal also each CA and key."""

    fleet: Mapping[str, str]
    here: Mapping[str, str]
    same: bool
    authorities: tuple[TrustedKey, ...] = ()
    signing_keys: tuple[TrustedKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NextKey:
    """`folder`: on this coordinator's machine; every other coordinator needs a copy."""

    id: str
    folder: str
    in_force_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetiredKey:
    """`retired`: its id."""

    retired: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedIdentity:
    before: Mapping[str, str]
    after: Mapping[str, str]


@use_case("fleet.show", Role.VIEWER)
async def show(office: Office, caller: Caller) -> FleetKeys:
    """The CA, the signing key and the store of blobs of the fleet, and those of this coordinator."""
    core = office.core
    known, own = await read_identity(core.ledger), identity_of(core)
    same = not (known and differing(known, own))
    if not (anchors := core.trust.anchors).number:
        return FleetKeys(fleet=_plain(known), here=_plain(own), same=same)
    nodes = [load(Node, doc) for doc in await core.ledger.all("node")]
    return FleetKeys(
        fleet=_plain(known),
        here=_plain(own),
        same=same,
        authorities=tuple(_trusted(each, each.fingerprint, anchors, nodes) for each in anchors.authorities),
        signing_keys=tuple(_trusted(each, each.key_id, anchors, nodes) for each in anchors.signing_keys),
    )


@use_case("fleet.adopt", Role.ADMIN)
async def adopt(office: Office, caller: Caller, *, confirmed: bool) -> AdoptedIdentity:
    """Makes the keys and blobs of this coordinator those of the fleet.

    Args:
        confirmed: also where that changes them for every other coordinator.
    """
    core = office.core
    known = await read_identity(core.ledger)
    if known is None or differing(known, identity_of(core)):
        core.trust.follow(None)  # what Redis says of CAs is another fleet's
    own = identity_of(core)
    if known is not None and differing(known, own) and not confirmed:
        names = ", ".join(differing(known, own))
        raise BadInput(f"fleet: {names} would change for every coordinator on this Redis", hint="give --yes to do it")
    before = await adopt_identity(core.ledger, own, caller.name, await adopted(core.ledger, core.trust.anchors))
    return AdoptedIdentity(before=_plain(before), after=_plain(own))


@use_case("fleet.renew-ca", Role.ADMIN)
async def renew_ca(office: Office, caller: Caller, *, overlap_s: float, given: GivenCa, replaces: bool) -> NextKey:
    """Makes the next CA of the fleet, which the CA in force introduces to every node.

    Args:
        given: files on the coordinator's machine, for its own user alone.
        replaces: in place of one that is introduced and not in force yet.
    """
    if given != GivenCa():
        caller.needs_own_machine("certificate, key, public_key")
    core = office.core
    trust, now = core.trust, core.clock()
    after = await renewal.renew_ca(core.ledger, trust, now, overlap_s, caller.name, given, replaces=replaces)
    return _introduced(core, after, after.authorities[-1].fingerprint, numbered(trust.folder, "ca")[-1])


@use_case("fleet.renew-signing-key", Role.ADMIN)
async def renew_signing_key(
    office: Office, caller: Caller, *, overlap_s: float, public_key: Path | None, replaces: bool
) -> NextKey:
    """Makes the next signing key of the fleet, which the one in force introduces to every node.

    Args:
        public_key: a file on the coordinator's machine, for its own user alone.
        replaces: in place of one that is introduced and not in force yet.
    """
    if public_key is not None:
        caller.needs_own_machine("public_key")
    core = office.core
    trust, now = core.trust, core.clock()
    after = await renewal.renew_signing_key(core.ledger, trust, now, overlap_s, caller.name, public_key, replaces=replaces)
    return _introduced(core, after, after.signing_keys[-1].key_id, numbered(trust.folder, "signing")[-1])


@use_case("fleet.retire-signing-key", Role.ADMIN)
async def retire_signing_key(office: Office, caller: Caller, *, key: str, confirmed: bool) -> RetiredKey:
    """Has nodes drop a former signing key, by its id or the beginning of that.

    Args:
        confirmed: also where nodes lose artifacts that it alone signed.
    """
    core = office.core
    record = renewal.named_signing_key(core.trust.anchors, key)
    if not confirmed and (used := await in_use_by(core.ledger, core.blobs, record.key_id)):
        raise BadInput(
            f"fleet: nodes use {len(used)} artifacts that it alone signed, and would lose them: {', '.join(first_of(used))}",
            hint="release these again, roll them out, then retire the key; or give --yes",
        )
    await renewal.retire_signing_key(core.ledger, core.trust, record.key_id, caller.name)
    return RetiredKey(retired=record.key_id)


def _introduced(core: Core, after: FleetAnchors, id: str, folder: Path) -> NextKey:
    by = when(core.clock() + after.overlap_s)
    return NextKey(id=id, folder=str(folder), in_force_by=by)


def _trusted(each: AuthorityRecord | SigningKeyRecord, id: str, anchors: FleetAnchors, nodes: list[Node]) -> TrustedKey:
    known, accepted = knowing(nodes, each.number)
    row = TrustedKey(id=id, state=_state(each, anchors), nodes_that_know_it=known, accepted_nodes=accepted)
    if each.in_force_at:
        return row
    missing = first_of([node.name for node in nodes if lacks(node, each.number)])
    return replace(row, in_force_by=when(each.introduced_at + anchors.overlap_s), not_yet=missing)


def _state(each: AuthorityRecord | SigningKeyRecord, anchors: FleetAnchors) -> str:
    if each in (anchors.authority, anchors.signing_key):
        return "in force"
    if not each.in_force_at:
        return "introduced"
    gone = each.retired_at if isinstance(each, AuthorityRecord) else each.retirement
    return "retired" if gone else "former"


def _plain(identity: FleetIdentity | None) -> dict[str, str]:
    return {name: value for name, value in asdict(identity).items() if name != "schema"} if identity else {}
