"""Desired states as messages for nodes. In a fleet many are equal: each is parsed once and built once, for all who get it."""

from __future__ import annotations

from littoral.fleet.v1 import session_pb2
from littoral_cloud.api import wire
from littoral_cloud.fleet.interning import Interner
from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.fleet.records import Desired

MOST = 256
"""Different ones that are remembered: the waves of some models. A federated task makes each node's its own."""


class DesiredMessages:
    def __init__(self) -> None:
        self._interner = Interner(frozenset({"desired"}), {}, most=MOST)
        self._built: dict[int, tuple[Desired, session_pb2.DesiredState]] = {}  # by id of the record, which it keeps alive

    def record(self, doc: Doc | None) -> tuple[int, Desired]:
        """(generation, what should be); generation 0 where nothing was ever wanted of the node."""
        return (doc.generation, self._interner.record(Desired, doc)) if doc else (0, Desired())

    def message(self, generation: int, desired: Desired) -> session_pb2.ConnectResponse:
        if (known := self._built.get(id(desired))) is None:
            known = desired, wire.desired_to(0, desired)
            if len(self._built) >= MOST:
                del self._built[next(iter(self._built))]
            self._built[id(desired)] = known
        message = session_pb2.ConnectResponse(desired=known[1])
        message.desired.generation = generation
        return message
