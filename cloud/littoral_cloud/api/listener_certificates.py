"""The certificate that the listeners show, and another one before it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from littoral.errors import FleetError
from littoral_cloud.api.server import TlsIdentity
from littoral_cloud.trust.ca import BACKDATE_S
from littoral_cloud.trust.store import Trust

log = logging.getLogger(__name__)

RENEW_SHARE = 1 / 3
"""New connections are shown another certificate once this share of the present one's life is over."""

RENEW_LOOK_S = 3600.0
"""How often that is looked at: by the wall clock, since a machine may have slept."""


class ShowsCertificate(Protocol):
    """A listener."""

    @property
    def name(self) -> str: ...

    async def renew(self, identity: TlsIdentity) -> None: ...


class ListenerCertificates:
    """Args:
    names: DNS names and addresses of this server.
    clock: seconds since 1970-01-01 UTC.
    """

    def __init__(self, trust: Trust, names: tuple[str, ...], clock: Callable[[], float]) -> None:
        self._trust = trust
        self._names = names
        self._clock = clock
        self._listeners: list[tuple[ShowsCertificate, Callable[[], TlsIdentity]]] = []
        self._shows: dict[ShowsCertificate, TlsIdentity] = {}
        self._reissuing = asyncio.Lock()
        self._issue()

    def enrolment(self) -> TlsIdentity:
        return TlsIdentity(self._issued.private_key_pem, self._issued.chain_pem)

    def fleet(self) -> TlsIdentity:
        return TlsIdentity(self._issued.private_key_pem, self._issued.chain_pem, self._trust.client_authorities)

    @property
    def validity(self) -> tuple[float, float]:
        """From when until when; seconds since 1970-01-01 UTC."""
        return self._issued_at - BACKDATE_S, self._issued.expires_at

    def follow(self, listener: ShowsCertificate, identity: Callable[[], TlsIdentity]) -> None:
        """Gives a listener what `identity` says then, whenever there is another certificate."""
        self._listeners.append((listener, identity))
        self._shows[listener] = identity()

    async def renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(RENEW_LOOK_S)
            if self._clock() < self._renew_at:
                continue
            try:
                await self._reissue()
            except FleetError as error:
                log.error("the listeners keep their certificate, which ends soon: %s", error)

    async def follow_keys(self) -> None:
        """The fleet has another CA: each listener for which that changes something shows it. Raises FleetError."""
        if self._trust.shown(self._clock()) != self._shown:
            await self._reissue()
        else:
            await self._show()

    async def _reissue(self) -> None:
        await asyncio.to_thread(self._issue)  # a command may sign
        await self._show()

    async def _show(self) -> None:
        async with self._reissuing:
            for listener, identity in self._listeners:
                if (shown := identity()) != self._shows.get(listener):
                    self._shows[listener] = shown
                    await listener.renew(shown)
                    log.info("%s listener: shows a new certificate", listener.name)

    def _issue(self) -> None:
        now = self._clock()
        self._issued = self._trust.issue_server(self._names, now)
        self._shown = self._trust.shown(now)
        self._issued_at = now
        self._renew_at = now + (self._issued.expires_at - now) * RENEW_SHARE
