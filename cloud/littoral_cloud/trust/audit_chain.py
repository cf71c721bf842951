"""The audit trail's hash chain: every line carries SHA-256 over the chain before it and its own canonical JSON.

To change, drop or reorder a line one has to rewrite every chain after it. A copy of the last chain, stored elsewhere, shows
that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from littoral.errors import BadInput
from littoral_cloud.fleet.ledger import Audit, AuditEntry

GENESIS = "0" * 64
"""The chain before the first line."""


def canonical(at: float, line: Audit | AuditEntry) -> bytes:
    """The one JSON form of a line. Raises BadInput where its details are not JSON."""
    fields: dict[str, Any] = {
        "action": line.action,
        "actor": line.actor,
        "at": at,
        "details": dict(line.details),
        "subject": line.subject,
    }
    try:
        text = _dumps(fields)
        return _dumps(json.loads(text)).encode()  # twice: keys that were numbers sort as the text that they become
    except (TypeError, ValueError) as error:
        raise BadInput(f"audit {line.action} {line.subject}: details are not JSON: {error}") from error


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def link(previous: str, line: bytes) -> str:
    """The chain of a line, hex, after the chain before it."""
    return hashlib.sha256(previous.encode() + b"\n" + line).hexdigest()


@dataclass(frozen=True, slots=True)
class BrokenChain:
    """The first line that does not follow from the one before."""

    entry: AuditEntry
    expected: str  # the chain it should carry


def verify(entries: Iterable[AuditEntry], previous: str = GENESIS) -> BrokenChain | None:
    """The first broken line, or None. `previous` is the chain before the first of them, to go on page by page."""
    for entry in entries:
        expected = link(previous, canonical(entry.at, entry))
        if entry.chain != expected:
            return BrokenChain(entry, expected)
        previous = entry.chain
    return None
