"""What makes several coordinators one fleet: the same CA, the same signing key, the same store of blobs.

The first coordinator on a Redis writes down which ones; no secret is among it. Each one that follows compares its own, and does
not start where they differ: it would give nodes certificates that the others refuse, and offer models that it cannot send.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from littoral.errors import Conflict, Untrusted
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.records import dump, load

KIND = "fleet"
ID = "identity"
_WORDS = {"ca": "the CA", "signing_key": "the signing key", "blobs": "the store of blobs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetIdentity:
    """Args:
    ca: SHA-256 of the root certificate's DER, hex.
    signing_key: the id of the public key of manifests.
    blobs: the id that the store of blobs carries; "": it has none.
    """

    ca: str
    signing_key: str
    blobs: str
    schema: int = 1


async def read_identity(ledger: Ledger) -> FleetIdentity | None:
    """None: no coordinator of today has come yet."""
    doc = await ledger.get(KIND, ID)
    return load(FleetIdentity, doc) if doc else None


async def belong(ledger: Ledger, own: FleetIdentity, places: str) -> None:
    """Writes down what the fleet is, where that is not known yet.

    Args:
        places: where the own keys and blobs lie, for the error.

    Raises Untrusted, naming what differs.
    """
    if (known := await read_identity(ledger)) is None:
        try:
            await ledger.commit(Change((Write(KIND, ID, dump(own), 0),)))
            return
        except Conflict:  # another coordinator was first
            known = await read_identity(ledger)
    assert known is not None
    if others := differing(known, own):
        parts = "; ".join(f"{_WORDS[name]} is {was}, here {here or 'none'}" for name, (was, here) in others.items())
        raise Untrusted(f"keys and blobs: {places} are not those of this fleet: in Redis {parts}", hint=way_in(others))


def differing(known: FleetIdentity, own: FleetIdentity) -> dict[str, tuple[str, str]]:
    """(the fleet's, the own) of each part that differs, shortened."""
    ours = asdict(own)
    return {name: (was[:16], ours[name][:16]) for name, was in asdict(known).items() if name in _WORDS and was != ours[name]}


def missing_keys(known: FleetIdentity, place: str) -> Untrusted:
    """For a coordinator that has no keys at all: it makes none, since the fleet has some."""
    return Untrusted(f"keys: {place} has none, and the fleet in this Redis has the CA {known.ca[:16]}", hint=way_in(("ca",)))


def way_in(others: object) -> str:
    parts = others if isinstance(others, dict | tuple) else ()
    ways = []
    if "ca" in parts or "signing_key" in parts:
        ways.append("name a copy of the folders ca and signing of the fleet's first coordinator by LITTORAL_KEYS_DIR")
    if "blobs" in parts:
        ways.append("name the fleet's folder or bucket of blobs by LITTORAL_BLOBS")
    return f"{' and '.join(ways)}; or `littoral-cloud fleet adopt`, where these are to be the fleet's from now on"


async def adopt(ledger: Ledger, own: FleetIdentity, actor: str, beside: tuple[Write, ...] = ()) -> FleetIdentity | None:
    """Makes these the keys and blobs of the fleet, with a line in the trail; gives those before. Raises Conflict.

    Args:
        beside: what is written with them, where they are other ones.
    """
    doc = await ledger.get(KIND, ID)
    before = load(FleetIdentity, doc) if doc else None
    if before != own:
        details = {"was": asdict(before) if before else {}, "is": asdict(own)}
        line = Audit("fleet.identity-changed", ID, actor, details)
        await ledger.commit(Change((Write(KIND, ID, dump(own), doc.generation if doc else 0), *beside), (line,)))
    return before
