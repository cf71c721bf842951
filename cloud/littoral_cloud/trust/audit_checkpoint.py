"""A signed checkpoint: what was cut from the beginning of the audit trail, and where it is now.

The first line that is left follows from the chain of the newest checkpoint. Who can write to Redis could cut lines and write
a checkpoint of their own, so each is signed with the coordinator's key, in the form of a manifest: an envelope that stands in
the ledger (kind "audit-checkpoint") and as a file beside the archived lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral import decoder, json_text
from littoral.errors import BadInput, Untrusted
from littoral.identity import seal, unseal
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.records import load
from littoral_cloud.trust.audit_chain import GENESIS

KIND = "audit-checkpoint"
PAYLOAD_TYPE = "application/vnd.littoral.audit-checkpoint+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheckpoint:
    """One file of archived lines. Ids are of Redis's stream, `chain` and `previous` SHA-256 in hex."""

    number: int  # 1 for the first one
    first: str  # ids of the first and the last line in the file
    last: str
    previous: str  # the chain before the first line
    chain: str  # of the last line
    lines: int  # in the file
    lines_before: int  # in all files before it
    file: str
    folder: str  # where it was written
    sha256: str  # of the file, hex
    file_bytes: int
    at: float  # when it was made; seconds since 1970-01-01 UTC
    schema: int = 1

    @property
    def lines_until(self) -> int:
        """From the first line of the trail to the last one of the file."""
        return self.lines_before + self.lines

    def seal(self, key: Ed25519PrivateKey) -> bytes:
        """The signed envelope, as JSON bytes."""
        return seal(json.dumps(decoder.plain(self), sort_keys=True).encode(), PAYLOAD_TYPE, key)

    @classmethod
    def open(cls, envelope: bytes, trusted: Mapping[str, bytes]) -> AuditCheckpoint:
        """Raises Untrusted where no key of `trusted` (raw Ed25519 public keys by key id) signed it, or it is no checkpoint."""
        payload = unseal(envelope, PAYLOAD_TYPE, trusted)
        try:
            return decoder.decode(cls, json_text.parse(payload, "audit checkpoint"), "audit checkpoint")
        except BadInput as error:
            raise Untrusted(error.message, hint=error.hint) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAuditCheckpoint:
    """The document. Its id is the checkpoint's number in six digits."""

    envelope: str


def checkpoint_id(number: int) -> str:
    return f"{number:06d}"


async def read_checkpoints(ledger: Ledger, trusted: Mapping[str, bytes]) -> tuple[AuditCheckpoint, ...]:
    """All of them, oldest first, each checked. Raises Untrusted where one is not signed by us, or does not follow from the one
    before."""
    docs = await ledger.all(KIND)
    return follow_on([AuditCheckpoint.open(load(SignedAuditCheckpoint, doc).envelope.encode(), trusted) for doc in docs])


def follow_on(checkpoints: Sequence[AuditCheckpoint]) -> tuple[AuditCheckpoint, ...]:
    """Gives them back, by number. Raises Untrusted where one is missing or does not follow from the one before."""
    ordered = tuple(sorted(checkpoints, key=lambda each: each.number))
    number, chain, lines, last = 0, GENESIS, 0, "0-0"
    for each in ordered:
        follows = (number + 1, chain, lines) == (each.number, each.previous, each.lines_before)
        if not follows or not id_key(last) < id_key(each.first) <= id_key(each.last) or each.lines < 1:
            raise Untrusted(
                f"audit: checkpoint {each.number} does not follow from {number}: one of both was changed or is missing",
                hint="compare with the .checkpoint.json files beside the archived lines",
            )
        number, chain, lines, last = each.number, each.chain, each.lines_until, each.last
    return ordered


def id_key(id: str) -> tuple[int, int]:
    """Sorts ids of a stream."""
    at, _, sequence = id.partition("-")
    return int(at), int(sequence or 0)
