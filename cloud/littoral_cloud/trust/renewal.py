"""Makes the next CA or the next signing key: its folder first, its entry in the ledger next. Nothing is issued with it yet.

A process that is killed between the two leaves a folder that no document names. Nothing uses it; the next call introduces it.
"""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.errors import BadInput, Untrusted
from littoral.identity import private_pem
from littoral.trust_anchors import introduce_key
from littoral_cloud.fleet.anchors import ID, KIND, FleetAnchors, check_no_next, read_anchors, with_authority, with_signing_key
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.records import dump
from littoral_cloud.trust.ca import CertificateAuthority, new_root, open_ca
from littoral_cloud.trust.files import create_folder
from littoral_cloud.trust.signing import IntroducedSigningKey, open_signing_key
from littoral_cloud.trust.store import Trust

MOST_OVERLAP_S = 366 * 24 * 3600.0


async def renew_ca(ledger: Ledger, trust: Trust, now: float, overlap_s: float, actor: str) -> FleetAnchors:
    """Introduces the next CA of the fleet, a root as the one in force is.

    Args:
        overlap_s: see littoral_cloud.fleet.anchors.

    Raises:
        Conflict: one is introduced already, or somebody else was first. Untrusted: the key of the CA in force is not here.
        BadInput: the overlap is out of range, an operator's own root issued the CA in force, or the folder is taken.
    """
    anchors, generation = await _anchors(ledger, trust, overlap_s)
    check_no_next(anchors.next_authority)
    old, folder = trust.ca, trust.folder / f"ca-{len(anchors.authorities) + 1}"
    if old.above:
        raise BadInput(
            "fleet: nodes pin a root that is not the fleet's own, so only its owner can issue the next CA",
            hint="let it sign one, then `littoral-cloud fleet renew-ca --certificate CHAIN --key KEY`",
        )
    if not folder.exists():
        key, root = new_root(now, old.certificate.subject)
        files = CertificateAuthority(root, key, introduction=old.introduce(root)).files
        create_folder(folder, {"key.pem": private_pem(key), **files})
    made = open_ca(folder, now)
    after = with_authority(anchors, made.record(0), now)
    details = {"in_force": old.fingerprint, "overlap_s": overlap_s}
    await _write(ledger, after, generation, Audit("fleet.ca-introduced", made.fingerprint, actor, details))
    return after


async def renew_signing_key(ledger: Ledger, trust: Trust, now: float, overlap_s: float, actor: str) -> FleetAnchors:
    """Introduces the next signing key of the fleet; as `renew_ca`."""
    anchors, generation = await _anchors(ledger, trust, overlap_s)
    check_no_next(anchors.next_signing_key)
    folder = trust.folder / f"signing-{len(anchors.signing_keys) + 1}"
    if not folder.exists():
        key = Ed25519PrivateKey.generate()
        introduction = introduce_key(key.public_key().public_bytes_raw(), trust.signing_key)
        create_folder(folder, {"key.pem": private_pem(key), **IntroducedSigningKey(key, introduction).files})
    made = open_signing_key(folder)
    after = with_signing_key(anchors, made.record(0), now)
    details = {"in_force": trust.signing_key_id, "overlap_s": overlap_s}
    await _write(ledger, after, generation, Audit("fleet.signing-key-introduced", made.key_id, actor, details))
    return after


async def _anchors(ledger: Ledger, trust: Trust, overlap_s: float) -> tuple[FleetAnchors, int]:
    if not 0 <= overlap_s <= MOST_OVERLAP_S:
        raise BadInput(f"overlap: {overlap_s:g} s is not from 0 to {MOST_OVERLAP_S:g}", hint="like --overlap 7d")
    if lacks := trust.lacks:
        raise Untrusted(f"keys: {trust.folder} lacks {lacks}", hint="copy the folder from another coordinator, or run this there")
    found, generation = await read_anchors(ledger)
    return replace(found or trust.anchors, overlap_s=overlap_s), generation


async def _write(ledger: Ledger, anchors: FleetAnchors, generation: int, line: Audit) -> None:
    await ledger.commit(Change((Write(KIND, ID, dump(anchors), generation),), (line,)))
