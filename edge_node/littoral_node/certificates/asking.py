"""How a node asks for its next certificate: on the fleet listener while it has one that counts, else on an enrolment listener."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
from cryptography.hazmat.primitives.asymmetric import ec

from littoral.errors import FleetError, NotAccepted, Revoked, Unavailable, Untrusted, WaitsForOperator
from littoral.fleet.v1 import enrolment_pb2, enrolment_pb2_grpc, session_pb2, session_pb2_grpc
from littoral.signed_time import NONCE_BYTES, answered_time, prove
from littoral_node.identity.identity import Identity, life_of
from littoral_node.link.channel import CloudChannels

LIMIT_S = 10.0
DIRECT = CloudChannels()
"""For commands, on a machine whose clock is right."""
_REFUSALS = {kind.code: kind for kind in (Revoked, WaitsForOperator, NotAccepted)}


async def next_certificate(identity: Identity, channels: CloudChannels = DIRECT) -> bytes:
    """The certificate, PEM, that follows this identity's, for the same key.

    Raises AioRpcError; Untrusted where what comes is not for our key.
    """
    key, request = _request_of(identity)
    async with channels.fleet(identity) as channel:
        stub = session_pb2_grpc.SessionServiceStub(channel)
        answer = await stub.Renew(session_pb2.RenewRequest(certificate_request=request), timeout=LIMIT_S)
    return _checked(answer.certificate, key)


async def refused(identity: Identity) -> str:
    """Why the cloud takes this certificate for none of its nodes', though it has not expired; empty: it takes it, or is away.

    Changes nothing: it asks for a certificate of another key. A cloud says first who is no node of it, then that this is wrong.
    """
    from littoral.identity import certificate_request, new_node_key

    other = certificate_request(new_node_key())
    try:
        async with DIRECT.fleet(identity) as channel:
            stub = session_pb2_grpc.SessionServiceStub(channel)
            await stub.Renew(session_pb2.RenewRequest(certificate_request=other), timeout=LIMIT_S)
    except grpc.aio.AioRpcError as error:
        return error.details() or "" if error.code() is grpc.StatusCode.PERMISSION_DENIED else ""
    return ""


async def come_back(
    identity: Identity,
    addresses: Sequence[str],
    rng: random.Random,
    *,
    channels: CloudChannels = DIRECT,
    heard: Callable[[float], None] = lambda at: None,
) -> Identity:
    """The identity with another certificate, where its last one has ended: by proof of the key.

    Args:
        addresses: HOST:PORT of enrolment listeners; one of them is asked, and the others where it cannot be reached.
        heard: called with the coordinator's time.

    Raises:
        Revoked, WaitsForOperator, NotAccepted: as the cloud answers. Untrusted: what comes is not for our key, or not by our
            signing keys.
        Unavailable.
    """
    problem: FleetError = Unavailable("no enrolment listener is known", hint="use a join line")
    for address in rng.sample(addresses, len(addresses)):
        try:
            return await _come_back_at(address, identity, channels, heard)
        except Unavailable as error:
            problem = error
    raise problem


async def _come_back_at(address: str, identity: Identity, channels: CloudChannels, heard: Callable[[float], None]) -> Identity:
    key, request = _request_of(identity)
    try:
        async with channels.enrolment(address, identity.ca_pem) as channel:
            challenge, at = await told_time(channel, identity.signing_keys)
            heard(at)
            if not life_of(identity.certificate_pem).over(at):
                raise Unavailable("by the coordinator's clock the certificate has not ended", hint="set this machine's clock")
            asked = enrolment_pb2.ReturnRequest(
                signed_time=challenge, certificate_request=request, proof=prove(challenge, request, key)
            )
            answer = await enrolment_pb2_grpc.EnrolmentServiceStub(channel).Return(asked, timeout=LIMIT_S)
    except grpc.aio.AioRpcError as error:
        raise _error_of(error, address) from error
    certificate = _checked(answer.certificate, key)
    return replace(identity, certificate_pem=certificate, fleet_address=answer.fleet_address or identity.fleet_address)


async def told_time(channel: grpc.aio.Channel, trusted: Mapping[str, bytes]) -> tuple[bytes, float]:
    """(the envelope, seconds since 1970-01-01 UTC) of the coordinator at the other end. Raises AioRpcError, Untrusted."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    stub: Any = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
    answer = await stub.TellTime(enrolment_pb2.TellTimeRequest(nonce=nonce), timeout=LIMIT_S)
    return answer.signed_time, answered_time(answer.signed_time, nonce, trusted)


def _error_of(error: grpc.aio.AioRpcError, address: str) -> FleetError:
    """PERMISSION_DENIED has the code of the cloud's error in front; all else may go better later, or elsewhere."""
    details = error.details() or ""
    code, _, message = details.partition(": ")
    if error.code() is grpc.StatusCode.PERMISSION_DENIED:
        return _REFUSALS.get(code, NotAccepted)(message or details)
    return Unavailable(f"{address}: {error.code().name}: {details}")


def _request_of(identity: Identity) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from littoral.identity import certificate_request

    key = load_pem_private_key(identity.key_pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Untrusted("identity: key.pem is no ECDSA key", hint="use a join line")
    return key, certificate_request(key)


def _checked(der: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """A certificate as PEM. Raises Untrusted where it is none, or not for our key.

    Its issuer is not checked: who answers has shown a certificate of the fleet, and may issue by an intermediate that this node
    does not know.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        certificate = x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise Untrusted(f"renewal: what came is no certificate: {error}") from error
    if certificate.public_key() != key.public_key():
        raise Untrusted("renewal: the certificate that came is for another key")
    return certificate.public_bytes(Encoding.PEM)
