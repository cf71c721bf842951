"""The fleet has another CA or signing key: whom this node believes from now on. littoral/trust_anchors.py decides."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace

from littoral.errors import FleetError
from littoral.fleet.v1 import session_pb2
from littoral.trust_anchors import ToldAnchors, followed_keys, followed_roots
from littoral_node.identity.identity import Identity

_END = "-----END CERTIFICATE-----"


def followed(identity: Identity, message: session_pb2.TrustAnchors) -> Identity:
    """The identity with the CAs and signing keys that the message adds, and without those CAs that are retired.

    Raises Untrusted where none that this node trusts introduces the newest of either; BadInput where the message is malformed.
    """
    told = ToldAnchors(
        number=message.number,
        authorities=tuple(message.authorities),
        introductions=tuple(message.introductions),
        retired=tuple(message.retired),
        signing_keys=tuple(message.signing_keys),
        retired_keys=tuple(message.retired_keys),
    )
    told.check()
    roots = followed_roots(roots_of(identity.ca_pem), told)
    keys = followed_keys(identity.signing_keys, told)
    # The newest is the first: an older agent, put back on this folder, checks renewed certificates by the first alone.
    pem = "".join(ssl.DER_cert_to_PEM_cert(der) for der in reversed(roots)).encode()
    same = set(roots) == set(roots_of(identity.ca_pem))
    return replace(identity, ca_pem=identity.ca_pem if same else pem, signing_keys=keys)


def taken_over(
    identity: Identity, message: session_pb2.TrustAnchors, keep: Callable[[Identity], None], log: Callable[..., None]
) -> tuple[Identity, session_pb2.TrustReport]:
    """The identity with what the message says, also where the disk does not take it, and the report to the cloud."""
    after = identity
    try:
        after = followed(identity, message)
        if after != identity:
            keep(after)
    except (FleetError, OSError) as error:
        log("anchors-not-followed", number=message.number, detail=str(error))
        return after, session_pb2.TrustReport(detail=str(error))
    return after, session_pb2.TrustReport(number=message.number)


def believe(keys: dict[str, bytes], wanted: Mapping[str, bytes]) -> None:
    """Makes `keys` hold what is wanted, in place; a reader in another thread never finds it empty."""
    keys.update(wanted)
    for id in keys.keys() - wanted.keys():
        del keys[id]


def roots_of(ca_pem: bytes) -> tuple[bytes, ...]:
    """DER of each certificate in ca.pem, the oldest first."""
    parts = ca_pem.decode("ascii").split(_END)[:-1]
    return tuple(ssl.PEM_cert_to_DER_cert(part.strip() + "\n" + _END + "\n") for part in reversed(parts))
