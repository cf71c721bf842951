"""One event as it goes out, signed. Specification: Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping

from littoral.errors import BadInput
from littoral_cloud.fleet.ledger import AuditEntry
from littoral_cloud.terminal.text import when
from littoral_cloud.webhooks.records import SECRET_PREFIX

SECRET_BYTES = 32


def secret_of(key: bytes) -> str:
    """As receivers get it."""
    return SECRET_PREFIX + base64.b64encode(key).decode()


def body_of(entry: AuditEntry, name: str) -> bytes:
    """JSON. `name`: of the subject, where it is a node; "": it has no other name than its id."""
    event = {
        "type": entry.action,
        "timestamp": when(entry.at),
        "data": {"subject": entry.subject, "name": name or entry.subject, "actor": entry.actor, "details": dict(entry.details)},
    }
    return json.dumps(event, separators=(",", ":")).encode()


def headers_of(id: str, body: bytes, secret: str, now: float) -> Mapping[str, str]:
    """Of one attempt. Raises BadInput where the secret is damaged."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise BadInput("webhook: its secret is damaged", hint="delete it and save it again") from error
    stamp = str(int(now))
    digest = hmac.new(key, b".".join((id.encode(), stamp.encode(), body)), hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "user-agent": "littoral",
        "webhook-id": id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
