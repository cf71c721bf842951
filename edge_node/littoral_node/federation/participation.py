"""Whether this node takes part in federated runs, and which task of the desired state is due. No torch, no flwr here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from littoral.fleet.v1.session_pb2 import ConnectRequest, DesiredState, FederatedReply, FederatedTask
from littoral_node.federation.participant import Participant
from littoral_node.federation.warm import trains
from littoral_node.transfer.blobs import NodeBlobs


class Participation:
    """A node without labelled examples, or without the training packages, ignores every task.

    Args:
        labelled: folder of this node's labelled examples; None: it has none.
        look: counts the examples again: the cloud refuses a reply of more examples than the node reported.
    """

    def __init__(
        self,
        blobs: NodeBlobs,
        labelled: Path | None,
        folder: Path,
        send: Callable[[ConnectRequest], object],
        look: Callable[[], Awaitable[None]],
        log: Callable[..., None],
    ) -> None:
        self._blobs = blobs
        self._look = look

        def reply(message: FederatedReply) -> None:
            send(ConnectRequest(federated_reply=message))

        takes_part = labelled is not None and trains(log)
        self._participant = Participant(blobs, labelled, folder, reply) if labelled is not None and takes_part else None
        self._task: FederatedTask | None = None
        self._due = asyncio.Event()

    @property
    def features(self) -> tuple[str, ...]:
        """For Hello."""
        return () if self._participant is None else ("federated", "coded-messages")

    @property
    def trains(self) -> bool:
        """Whether a task is worked on now."""
        return self._participant is not None and self._participant.works

    def set_desired(self, desired: DesiredState) -> None:
        """`run` reconciles the participant with the newest one."""
        self._task = desired.federated if desired.HasField("federated") else None
        self._due.set()

    def leave(self) -> None:
        """This node is not part of the fleet any more: what it trains ends, and its worker."""
        self._task = None
        self._due.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            if self._participant is None:
                continue
            if self._task is not None:
                await self._look()
            await self._participant.reconcile(self._task)
            if self._task is None:
                self._blobs.sweep(())  # of a run that has ended

    async def close(self) -> None:
        if self._participant is not None:
            await self._participant.close()
        await self._blobs.close()
