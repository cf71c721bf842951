"""The only file that touches Flower's non-public names; both sides use it. Written against flwr 1.41.

Flower's SuperLink gives a message its id, its run and its sender; here the fleet's own session carries messages, so that
we do. tests/unit/federation/test_flower_private.py fails loudly when a new flwr changes one of these names.
"""

from __future__ import annotations

import hashlib

from flwr.app import Message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from google.protobuf.message import DecodeError

from littoral.errors import BadInput

SERVER_NODE = 1
"""Flower's node id of the side that aggregates."""


def number_of(name: str) -> int:
    """The stable positive integer by which Flower knows one of our ids: 62 bits of its SHA-256."""
    return (int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 2) or 1


def become_server(run_id: str) -> None:
    """Says whose messages this process makes. Global to the process: one federated run, one process."""
    TaskIdentity.run_id = number_of(run_id)
    TaskIdentity.node_id = SERVER_NODE
    TaskIdentity.task_id = number_of(run_id)


def empty_run(run_id: str) -> Run:
    """What `Grid.run` must give."""
    return Run.create_empty(number_of(run_id))


def name_message(message: Message, message_id: str) -> None:
    """Gives a message the id that its reply will name."""
    message.metadata.__dict__["_message_id"] = message_id


def to_bytes(message: Message) -> bytes:
    return bytes(message_to_proto(message).SerializeToString(deterministic=True))


def from_bytes(data: bytes) -> Message:
    """Raises BadInput where the bytes are no Flower message."""
    try:
        return message_from_proto(ProtoMessage.FromString(data))
    except (DecodeError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"federated message: {len(data)} bytes are not a Flower message: {error}") from error
