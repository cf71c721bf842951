"""The calls of nodes beside their sessions: blobs, questions to a teacher. A node that is taken out loses the open ones, too.

gRPC looks at a certificate at the handshake alone, and a download may last for minutes. So each open call is known here by its
node, and one watch for the whole process asks again when a node was written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from littoral.errors import Unavailable
from littoral_cloud.api.peer import peer_of
from littoral_cloud.fleet.ledger import Clock, Ledger
from littoral_cloud.fleet.sessions import Peer, SessionRefusal, admission

log = logging.getLogger(__name__)

_AGAIN_S = 1.0


@dataclass(slots=True, eq=False)
class _OpenCall:
    peer: Peer
    task: asyncio.Task[Any]
    refused: SessionRefusal | None = None


class NodeCalls:
    """Of one process."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._open: dict[str, set[_OpenCall]] = {}  # by node id

    @asynccontextmanager
    async def accepted(self, context: Any) -> AsyncIterator[Peer]:
        """The calling node, for as long as the call lasts.

        Raises NotAccepted, as Revoked or WaitsForOperator, where it is not, or no longer, part of the fleet: at once, or in the
        middle of what is done inside.
        """
        task = asyncio.current_task()
        assert task is not None
        peer = peer_of(context)
        call = _OpenCall(peer, task)
        calls = self._open.setdefault(peer.node_id, set())
        calls.add(call)
        try:
            if (refused := await admission(self._ledger, peer, self._clock())) is not None:
                raise refused.error
            yield peer
        except asyncio.CancelledError:
            if call.refused is None:
                raise
            task.uncancel()
            raise call.refused.error from None
        finally:
            calls.discard(call)
            if not calls and self._open.get(peer.node_id) is calls:
                del self._open[peer.node_id]

    async def run(self) -> None:
        """Ends the calls of nodes that are taken out, until it is cancelled."""
        while True:
            try:
                async with self._ledger.watch("node") as announcements:
                    for node_id in tuple(self._open):  # what was written before we listened
                        await self._look(node_id)
                    async for announcement in announcements:
                        for node_id in (announcement.id,) if announcement.id else tuple(self._open):
                            await self._look(node_id)
            except Unavailable as error:
                log.warning("calls of nodes: %s", error)
                await asyncio.sleep(_AGAIN_S)

    async def _look(self, node_id: str) -> None:
        if not (calls := tuple(self._open.get(node_id, ()))):
            return
        refused = await admission(self._ledger, calls[0].peer, self._clock())
        if refused is None:
            return
        for call in calls:
            if call.refused is None and call in self._open.get(node_id, ()):
                call.refused = refused
                call.task.cancel()
        log.info("calls of %s: %d ended: %s", node_id, len(calls), refused.detail)
