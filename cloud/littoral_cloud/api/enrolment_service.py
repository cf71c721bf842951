"""The door of nodes that have no certificate: new ones show a token, those whose certificate has ended show their key."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from littoral.errors import BadInput
from littoral.fleet.v1 import enrolment_pb2, enrolment_pb2_grpc
from littoral_cloud.fleet.enrolment import EnrolmentRequest, Issuer, enrol
from littoral_cloud.fleet.expected import MOST_IDS
from littoral_cloud.fleet.ledger import Clock, Ledger
from littoral_cloud.fleet.renewal import Proof, come_back
from littoral_cloud.fleet.sessions import version_refusal
from littoral_cloud.terminal.text import printable


@dataclass(frozen=True)
class EnrolmentServicer(enrolment_pb2_grpc.EnrolmentServiceServicer):
    ledger: Ledger
    authority: Issuer
    signing_keys: Mapping[str, bytes]  # raw Ed25519 public keys by key id, that nodes trust
    seal_time: Callable[[float, bytes], bytes]  # for a nonce; by one of these keys
    grace_s: float  # after the end of its certificate within which a node gets the next one by itself
    fleet_address: str  # HOST:PORT that nodes connect to
    clock: Clock
    rng: random.Random
    _taking: set[str] = field(default_factory=set)  # names of nodes that are being enrolled

    async def Enrol(
        self, request: enrolment_pb2.EnrolRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> enrolment_pb2.EnrolResponse:
        if (refused := version_refusal(request.protocol_version)) is not None:
            raise BadInput(f"protocol_version: {refused.detail}")
        wanted = EnrolmentRequest(
            token=request.token,
            certificate_request=request.certificate_request,
            node_name=request.node_name,
            agent_version=printable(request.agent_version[:64]),
            hardware_class=printable(request.hardware.hardware_class[:64]),
            hardware_ids=tuple(request.hardware_ids[:MOST_IDS]),
        )
        enrolled = await enrol(self.ledger, self.authority, wanted, self.clock(), self.rng, self._taking)
        return enrolment_pb2.EnrolResponse(
            node_id=enrolled.node_id,
            node_name=enrolled.node_name,
            certificate=enrolled.certificate,
            certificate_authority=enrolled.certificate_authority,
            fleet_address=self.fleet_address,
            signing_keys=[
                enrolment_pb2.SigningKey(key_id=key_id, public_key=public) for key_id, public in self.signing_keys.items()
            ],
        )

    async def TellTime(
        self, request: enrolment_pb2.TellTimeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> enrolment_pb2.TellTimeResponse:
        return enrolment_pb2.TellTimeResponse(signed_time=self.seal_time(self.clock(), request.nonce))

    async def Return(
        self, request: enrolment_pb2.ReturnRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> enrolment_pb2.ReturnResponse:
        proof = Proof(challenge=request.signed_time, certificate_request=request.certificate_request, signature=request.proof)
        issued = await come_back(self.ledger, self.authority, proof, self.signing_keys, self.clock(), self.grace_s)
        return enrolment_pb2.ReturnResponse(certificate=issued.der, fleet_address=self.fleet_address)
