"""Asks coordinators what time it is, while this node cannot reach one by its own clock; and keeps the good time on the disk."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import grpc.aio

from littoral.backoff import Backoff
from littoral.errors import FleetError
from littoral_node.certificates.asking import told_time
from littoral_node.certificates.renewal import CertificateRenewal
from littoral_node.identity.good_time import NodeClock
from littoral_node.identity.identity import Identity
from littoral_node.link.channel import CloudChannels

LOOK_S = 5.0
PATIENCE_S = 20.0
"""Where no session is open for longer, the clock may be the reason."""
BACKOFF = Backoff(10.0, 300.0)

AskTime = Callable[[str, Identity], Awaitable[float]]


class TimeKeeping:
    """Args:
    ask: what time it is at an enrolment listener; for tests.
    """

    def __init__(
        self,
        clock: NodeClock,
        certificate: CertificateRenewal,
        channels: CloudChannels,
        *,
        monotonic: Callable[[], float],
        rng: random.Random,
        ask: AskTime | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._certificate = certificate
        self._channels = channels
        self._monotonic = monotonic
        self._rng = rng
        self._ask = ask or self._asked
        self._sleep = sleep

    async def run(self, connected: Callable[[], bool], reopen: Callable[[], None]) -> None:
        """Until cancelled.

        Args:
            connected: whether a session is open: its Welcome brought the time.
            reopen: opens a session at once, now that dates can be judged.
        """
        there_at, not_before, tries = self._monotonic(), 0.0, 0
        while True:
            now = self._monotonic()
            if connected():
                there_at, tries = now, 0
                self._clock.keep()
            elif now >= not_before and (now - there_at > PATIENCE_S or self._clock.is_wrong or self._certificate.over()):
                was = self._clock()
                if await self._learn() and (abs(self._clock() - was) > LOOK_S or self._clock.is_wrong):
                    reopen()
                not_before = self._monotonic() + BACKOFF.bound_s(tries) * self._rng.uniform(0.5, 1.0)
                tries += 1
            await self._sleep(LOOK_S)

    async def _learn(self) -> bool:
        """Whether a coordinator has answered."""
        identity, addresses = self._certificate.identity, self._certificate.addresses.enrolment
        if identity is None:
            return False
        for address in self._rng.sample(addresses, len(addresses)):
            try:
                self._clock.signed(await self._ask(address, identity))
            except (FleetError, OSError, grpc.aio.AioRpcError):
                continue  # it cannot be reached, or is older than this question
            return True
        return False

    async def _asked(self, address: str, identity: Identity) -> float:
        async with self._channels.enrolment(address, identity.ca_pem, dates=False) as channel:
            _, at = await told_time(channel, self._certificate.signing_keys)
            return at
