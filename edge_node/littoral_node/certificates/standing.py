"""Where this node stands with its fleet: its identity over time, the connections that it opens with it, and what time it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial

from littoral.errors import Untrusted
from littoral.fleet.v1 import session_pb2
from littoral_node.certificates.asking import come_back, next_certificate
from littoral_node.certificates.renewal import CertificateRenewal
from littoral_node.certificates.time_keeping import TimeKeeping
from littoral_node.identity.connection_count import ConnectionCount
from littoral_node.identity.files import Damaged
from littoral_node.identity.folder import NodeFolder
from littoral_node.identity.good_time import NodeClock
from littoral_node.link.channel import CloudChannels


class FleetStanding:
    """Args:
    clock: the machine's; seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        folder: NodeFolder,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        rng: random.Random,
        log: Callable[..., None],
        damaged: Damaged,
    ) -> None:
        self._log = log
        self.clock = NodeClock(folder.clock, clock, log, damaged=damaged)
        self._connections = ConnectionCount(folder.connections, log, damaged)
        self.channels = CloudChannels(self.clock)
        self.certificate = CertificateRenewal(
            folder,
            clock=self.clock,
            monotonic=monotonic,
            rng=rng,
            log=log,
            ask=partial(next_certificate, channels=self.channels),
            ask_back=partial(come_back, channels=self.channels, heard=self.clock.signed),
            open_channel=self.channels.fleet,
        )
        self._keeping = TimeKeeping(self.clock, self.certificate, self.channels, monotonic=monotonic, rng=rng)
        if self.certificate.life is not None:
            self.clock.not_before(self.certificate.life.begins_at)

    def greeting(self, hello: session_pb2.Hello) -> session_pb2.Hello:
        """With what a new session needs of it."""
        hello.time_nonce = self.clock.nonce()
        hello.connection = self._connections.next()
        return hello

    def welcomed(self, welcome: session_pb2.Welcome) -> None:
        """Takes over the time, which an older cloud does not tell; what is due is done at once."""
        if welcome.signed_time:
            try:
                self.clock.answered(welcome.signed_time, self.certificate.signing_keys)
            except Untrusted as error:
                self._log("time-not-trusted", detail=str(error))
        self._connections.at_least(welcome.connection)
        self.certificate.look_again()

    def problems(self) -> list[str]:
        """For health and report."""
        return [*self.certificate.problems(), *([problem] if (problem := self.clock.problem()) else [])]

    async def run(self, connected: Callable[[], bool], reopen: Callable[[], None]) -> None:
        """Until cancelled; as CertificateRenewal.run."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.certificate.run(connected, reopen), name="certificate")
                tasks.create_task(self._keeping.run(connected, reopen), name="time")
        finally:
            await self.channels.close()
