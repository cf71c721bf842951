"""The signed manifest in an artifact's folder."""

from __future__ import annotations

import base64
import json

ENVELOPE = "manifest.dsse"


def payload_of(envelope: bytes) -> bytes:
    """What an envelope holds, its signature unchecked: for a child whose parent has checked it."""
    return base64.b64decode(json.loads(envelope)["payload"])
