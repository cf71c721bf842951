"""Trades a join line for an identity. The token leaves this machine only towards a server whose chain holds the very CA
certificate that the line names.

First the server's chain is read over TLS without trusting it and without sending anything; the certificate with the line's
fingerprint becomes the only root of the channel that then carries the token.
"""

from __future__ import annotations

import asyncio
import random
import select
import socket
from collections.abc import Callable, Sequence

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from littoral import PROTOCOL_VERSION, __version__
from littoral.backoff import Backoff
from littoral.errors import BadInput, BadToken, FleetError, NotAccepted, TooLarge, Unavailable, Untrusted
from littoral.fleet.v1 import enrolment_pb2, enrolment_pb2_grpc, hardware_pb2
from littoral.identity import JoinLine, certificate_request, is_node_key, new_node_key, private_pem, sha256_fingerprint
from littoral.transport import split_address
from littoral_node.identity.files import write_record
from littoral_node.identity.folder import NodeFolder
from littoral_node.identity.identity import Identity
from littoral_node.link.addresses import NamedCoordinators
from littoral_node.link.channel import CloudChannels

_LIMIT_S = 15.0
TRY_FOR_S = 120.0
"""A cloud that answers, but not to this request, is asked again for about this long."""
_BACKOFF = Backoff(1.0, 15.0)


class CloudBusy(Unavailable):
    """The cloud is there and could not answer now, as where a thousand nodes come at the same moment."""


_ERRORS: dict[grpc.StatusCode, tuple[type[FleetError], str]] = {
    grpc.StatusCode.UNAUTHENTICATED: (BadToken, "ask for a new line: littoral-cloud token create"),
    grpc.StatusCode.INVALID_ARGUMENT: (BadInput, ""),
    grpc.StatusCode.PERMISSION_DENIED: (NotAccepted, "ask the operator of this fleet"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (TooLarge, ""),
}

_BUSY = (grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


async def enrol(
    folder: NodeFolder,
    line: JoinLine,
    *,
    name: str,
    hardware: hardware_pb2.HardwareProfile,
    now: float,
    monotonic: Callable[[], float],
    rng: random.Random,
    key_pem: bytes | None = None,
    hardware_ids: Sequence[str] = (),
    retrying: Callable[[FleetError, float], None] = lambda error, after_s: None,
) -> Identity:
    """Enrols this folder and keeps its identity. A cloud that is there and cannot answer now is asked again, after longer and
    longer waits by chance: it is the same key, so never a second node.

    Args:
        name: what the operator calls this node; "": the cloud chooses.
        key_pem: of a node that comes back: it is the same one, under its id. None: a new node.
        hardware_ids: see littoral_node.machine.hardware_ids.
        now: seconds since 1970-01-01 UTC.
        rng: for the waits.
        retrying: called with what went wrong, and the seconds to the next try.

    Raises:
        BadToken: the line has expired, or the cloud does not take its token. Untrusted: the server is not the one that the
        line names; nothing was sent. Unavailable: it cannot be reached, or was busy for TRY_FOR_S.
    """
    until = monotonic() + TRY_FOR_S
    tries = 0
    while True:
        try:
            return await _once(folder, line, name, hardware, hardware_ids, now, monotonic, key_pem)
        except CloudBusy as error:
            after_s = _BACKOFF.pause_s(tries, rng)
            if monotonic() + after_s >= until:
                raise
            retrying(error, after_s)
        tries += 1
        await asyncio.sleep(after_s)


async def _once(
    folder: NodeFolder,
    line: JoinLine,
    name: str,
    hardware: hardware_pb2.HardwareProfile,
    hardware_ids: Sequence[str],
    now: float,
    monotonic: Callable[[], float],
    key_pem: bytes | None,
) -> Identity:
    chain = await asyncio.to_thread(presented_chain, line.address, monotonic)
    authority = _authority_in(chain, line)
    # A machine that boots in 1970 enrols, too: the join line names the CA, and the cloud knows whether its token has expired.
    lies = not chain[0].not_valid_before_utc.timestamp() <= now <= chain[0].not_valid_after_utc.timestamp()
    if line.expires_at <= now and not lies:
        raise BadToken(
            f"join line: expired {now - line.expires_at:.0f} s ago", hint="ask for a new one: littoral-cloud token create"
        )
    key_pem = key_pem or _pending_key(folder)
    key = load_pem_private_key(key_pem, None)
    request = enrolment_pb2.EnrolRequest(
        token=line.token,
        certificate_request=certificate_request(key),  # type: ignore[arg-type]  # _pending_key holds no other kind
        node_name=name,
        protocol_version=PROTOCOL_VERSION,
        agent_version=__version__,
        hardware=hardware,
        hardware_ids=hardware_ids,
    )
    answer = await _ask(line, authority, request, dates=not lies)
    identity = _identity_from(answer, key_pem, line)
    folder.keep_identity(identity)
    write_record(folder.coordinators, NamedCoordinators(enrolment=(line.address,)))  # those of a fleet before are forgotten
    return identity


def authority_of(line: JoinLine, monotonic: Callable[[], float]) -> bytes:
    """The CA certificate, PEM, that the line names, out of the chain that the server presents. Blocking.

    Raises Untrusted where none of the chain's certificates has the line's fingerprint, Unavailable, BadInput.
    """
    return _authority_in(presented_chain(line.address, monotonic), line)


def _authority_in(chain: Sequence[x509.Certificate], line: JoinLine) -> bytes:
    for certificate in chain:
        if sha256_fingerprint(certificate.public_bytes(Encoding.DER)) == line.ca_sha256.lower():
            return certificate.public_bytes(Encoding.PEM)
    seen = ", ".join(sha256_fingerprint(c.public_bytes(Encoding.DER))[:16] for c in chain) or "none"
    raise Untrusted(
        f"wrong CA fingerprint: {line.address} shows certificates {seen}, the join line names {line.ca_sha256[:16]}",
        hint="nothing was sent to it; is the address right, and the line from this cloud?",
    )


def presented_chain(address: str, monotonic: Callable[[], float]) -> list[x509.Certificate]:
    """Every certificate that a TLS server presents, trusted or not; the socket is closed before a byte of ours is sent."""
    from OpenSSL import SSL  # here alone: it costs memory that a serving agent need not pay

    host, port = split_address(address, "join line: address")
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_alpn_protos([b"h2"])
    deadline = monotonic() + _LIMIT_S
    try:
        with socket.create_connection((host, port), timeout=_LIMIT_S) as plain:
            plain.setblocking(False)
            connection = SSL.Connection(context, plain)
            connection.set_connect_state()
            while True:
                try:
                    connection.do_handshake()
                    break
                except (SSL.WantReadError, SSL.WantWriteError):
                    left = deadline - monotonic()
                    if left <= 0 or not any(select.select([plain], [], [], left)):
                        raise CloudBusy(
                            f"{address}: no TLS handshake after {_LIMIT_S:.0f} s", hint="is the port right?"
                        ) from None
            return list(connection.get_peer_cert_chain(as_cryptography=True) or [])
    except SSL.SysCallError as error:
        raise CloudBusy(f"{address}: closed the connection in its TLS handshake: {error}", hint="is the port right?") from error
    except SSL.Error as error:
        raise Unavailable(
            f"{address}: does not speak TLS as an enrolment listener does: {error}", hint="is the port right?"
        ) from error
    except OSError as error:
        raise Unavailable(
            f"{address}: cannot be reached: {error}", hint="is the cloud running, and reachable from here?"
        ) from error


def _pending_key(folder: NodeFolder) -> bytes:
    """The key of an enrolment without an answer, or a new one; it is on the disk before the cloud sees it."""
    if folder.pending_key.exists() and is_node_key(pending := folder.pending_key.read_bytes()):
        return pending
    pem = private_pem(new_node_key())
    folder.keep_pending_key(pem)
    return pem


async def _ask(
    line: JoinLine, authority: bytes, request: enrolment_pb2.EnrolRequest, *, dates: bool
) -> enrolment_pb2.EnrolResponse:
    channels = CloudChannels()
    async with channels.enrolment(line.address, authority, dates=dates) as channel:
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
        try:
            answer: enrolment_pb2.EnrolResponse = await stub.Enrol(request, timeout=_LIMIT_S)
            return answer
        except grpc.aio.AioRpcError as error:
            other = CloudBusy if error.code() in _BUSY else Unavailable
            kind, hint = _ERRORS.get(error.code(), (other, "asking again gives the same node, never a second one"))
            raise kind(f"enrolment at {line.address}: {error.details()}", hint=hint) from error
        finally:
            await channels.close()


def _identity_from(answer: enrolment_pb2.EnrolResponse, key_pem: bytes, line: JoinLine) -> Identity:
    authority = x509.load_der_x509_certificate(answer.certificate_authority)
    if sha256_fingerprint(answer.certificate_authority) != line.ca_sha256.lower():
        raise Untrusted("enrolment: the CA in the answer is not the one that the join line names", hint="ask for a new join line")
    return Identity(
        node_id=answer.node_id,
        node_name=answer.node_name,
        fleet_address=answer.fleet_address,
        certificate_pem=x509.load_der_x509_certificate(answer.certificate).public_bytes(Encoding.PEM),
        ca_pem=authority.public_bytes(Encoding.PEM),
        key_pem=key_pem,
        signing_keys={key.key_id: key.public_key for key in answer.signing_keys},
    )
