"""Connections to the listeners of the cloud."""

from __future__ import annotations

import asyncio
from typing import Protocol

import grpc
import grpc.aio

from littoral.transport import CLIENT_OPTIONS
from littoral_node.identity.identity import Identity
from littoral_node.link.relay import RelayedAddress, TlsRelay


class Dates(Protocol):
    """littoral_node.identity.good_time.NodeClock."""

    @property
    def is_wrong(self) -> bool: ...
    def __call__(self) -> float: ...


class CloudChannels:
    """New connections, also where the machine's clock is wrong.

    Args:
        clock: None: the machine's is right.
    """

    def __init__(self, clock: Dates | None = None) -> None:
        self._clock = clock
        self._relay = TlsRelay()

    def fleet(self, identity: Identity) -> grpc.aio.Channel:
        """To the fleet listener: mutual TLS, rooted in the fleet's own CA alone."""
        if self._clock is not None and self._clock.is_wrong:
            to = RelayedAddress(identity.fleet_address, identity.ca_pem, identity.key_pem, identity.certificate_pem, self._clock)
            return grpc.aio.insecure_channel(self._relay.target(to), options=CLIENT_OPTIONS)
        credentials = grpc.ssl_channel_credentials(identity.ca_pem, identity.key_pem, identity.certificate_pem)
        return grpc.aio.secure_channel(identity.fleet_address, credentials, options=CLIENT_OPTIONS)

    def enrolment(self, address: str, ca_pem: bytes, *, dates: bool = True) -> grpc.aio.Channel:
        """To an enrolment listener: server TLS. `dates`: the server's certificate must be valid now."""
        if not dates or (self._clock is not None and self._clock.is_wrong):
            to = RelayedAddress(address, ca_pem, None, None, self._clock if dates else None)
            return grpc.aio.insecure_channel(self._relay.target(to), options=CLIENT_OPTIONS)
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca_pem), options=CLIENT_OPTIONS)

    async def close(self) -> None:
        await self._relay.close()


async def unreachable(identity: Identity, limit_s: float) -> str:
    """Why the fleet listener cannot be reached with this identity; empty: it can."""
    channel = CloudChannels().fleet(identity)
    try:
        async with asyncio.timeout(limit_s):
            state = channel.get_state(try_to_connect=True)
            while state is not grpc.ChannelConnectivity.READY:
                if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                    return "the connection was refused, or the handshake failed"
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    except TimeoutError:
        return f"no answer in {limit_s:.0f} s"
    finally:
        await channel.close()
    return ""
