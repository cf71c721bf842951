"""The escalation service: a node that is not sure asks, a teacher answers. Translates; teacher_service decides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from littoral.errors import BadInput, TooLarge
from littoral.fleet.v1 import escalation_pb2, escalation_pb2_grpc
from littoral.signature import DATATYPES
from littoral.transport import MAX_MESSAGE_BYTES
from littoral_cloud.api.access import calling_node
from littoral_cloud.teacher_service.service import Escalation, TeacherService

_KINDS = {name: DATATYPES[name] for name in ("UINT8", "FP32")}


@dataclass(frozen=True)
class EscalationServicer(escalation_pb2_grpc.EscalationServiceServicer):
    teachers: TeacherService

    async def Escalate(self, request: Any, context: Any) -> escalation_pb2.EscalateResponse:
        answer = await self.teachers.escalate(calling_node().node_id, escalation_from(request))
        return escalation_pb2.EscalateResponse(
            logits=answer.logits.reshape(-1).tolist(), teacher_name=answer.teacher, teacher_digest=answer.teacher_digest
        )


def escalation_from(request: escalation_pb2.EscalateRequest) -> Escalation:
    """Raises TooLarge, or BadInput, naming the field."""
    if (size := request.ByteSize()) > MAX_MESSAGE_BYTES:
        raise TooLarge(f"escalate: {size} bytes, at most {MAX_MESSAGE_BYTES} are taken")
    kind, shape = _KINDS.get(request.datatype), tuple(request.shape)
    if kind is None:
        raise BadInput(f"escalate.datatype: {request.datatype[:20]!r} is not taken", hint=f"one of {', '.join(_KINDS)}")
    if len(shape) < 2 or min(shape) < 1 or math.prod(shape) * kind.itemsize != len(request.inputs):
        raise BadInput(f"escalate.inputs: {len(request.inputs)} bytes are no {request.datatype} {list(shape)[:8]}")
    if len(request.logits) % shape[0]:
        raise BadInput(f"escalate.logits: {len(request.logits)} numbers for {shape[0]} examples")
    x = np.frombuffer(request.inputs, kind).reshape(shape)
    logits = np.array(request.logits, np.float32).reshape(shape[0], -1)
    return Escalation(request.model_name, request.manifest_digest, x, logits, request.threshold)
