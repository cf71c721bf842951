"""What was handed to a node's session, and when: from then on its silence counts.

kind "handed", id node id: for each model the newest intent that a session of the node was given. The coordinator with the session
writes it, once for each new intent, many nodes in one Change (`HandedDesk`); a session that opens again changes nothing. A
coordinator that is killed before it wrote has handed nothing, as far as anyone knows: the node's next session writes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

from littoral.errors import Unavailable
from littoral_cloud.fleet.calm import Calm, at_once
from littoral_cloud.fleet.ledger import Change, Clock, Ledger, Write
from littoral_cloud.fleet.records import Desired, dump

KIND = "handed"
GATHER_S = 0.1
"""For so long sessions gather before they are written together."""
AT_ONCE = 500
_AGAIN_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedModel:
    """`generation`: of the DesiredModel; `at`: seconds since 1970-01-01 UTC."""

    generation: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    models: Mapping[str, HandedModel] = field(default_factory=dict)
    schema: int = 1


def after_handing(before: Handed, desired: Desired, now: float) -> Handed:
    """The first time of each intent counts. Models that are wanted no more are left out. Pure."""
    models = {}
    for name, wanted in desired.models.items():
        known = before.models.get(name)
        same = known is not None and known.generation >= wanted.generation
        models[name] = known if known is not None and same else HandedModel(generation=wanted.generation, at=now)
    return before if models == before.models else Handed(models=models)


class HandedDesk:
    """Of the open sessions of this process.

    Args:
        clock: seconds since 1970-01-01 UTC.
        calm: asked before it writes.
    """

    def __init__(self, ledger: Ledger, clock: Clock, *, calm: Calm = at_once) -> None:
        self._calm = calm
        self._ledger = ledger
        self._clock = clock
        self._known: dict[str, Handed] = {}  # by node
        self._unwritten: dict[str, Handed] = {}
        self._wake = asyncio.Event()

    def enter(self, node_id: str, stored: Handed) -> None:
        """A session of the node opens."""
        self._known.setdefault(node_id, stored)

    def handed(self, node_id: str, desired: Desired) -> None:
        """The node's session was just given this."""
        before = self._known.get(node_id, Handed())
        after = after_handing(before, desired, self._clock())
        if after is not before:
            self._known[node_id] = self._unwritten[node_id] = after
            self._wake.set()

    def leave(self, node_id: str) -> None:
        """No session of the node is open here any more. What waits is written all the same."""
        self._known.pop(node_id, None)

    async def run(self) -> None:
        """Writes until it is cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            await self._calm()
            try:
                await self.write()
            except Unavailable as error:
                log.warning("handed: %s", error)
                await asyncio.sleep(_AGAIN_S)

    async def write(self) -> None:
        """All that waits. Raises Unavailable; then it still waits."""
        while self._unwritten:
            some = dict(islice(self._unwritten.items(), AT_ONCE))
            await self._ledger.commit(Change(tuple(Write(KIND, id, dump(each), None) for id, each in some.items())))
            for id, each in some.items():
                if self._unwritten.get(id) is each:
                    del self._unwritten[id]
        self._wake.clear()
