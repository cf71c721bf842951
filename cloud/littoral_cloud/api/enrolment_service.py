"""The door of new nodes: a token and a certificate request in, an identity out."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from littoral.errors import BadInput
from littoral.fleet.v1 import enrolment_pb2, enrolment_pb2_grpc
from littoral_cloud.fleet.enrolment import EnrolmentRequest, Issuer, enrol
from littoral_cloud.fleet.ledger import Clock, Ledger
from littoral_cloud.fleet.sessions import version_refusal
from littoral_cloud.terminal.text import printable


@dataclass(frozen=True)
class EnrolmentServicer(enrolment_pb2_grpc.EnrolmentServiceServicer):
    ledger: Ledger
    authority: Issuer
    signing_keys: Mapping[str, bytes]  # raw Ed25519 public keys by key id, that nodes trust
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
