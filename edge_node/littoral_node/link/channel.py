"""A connection to the fleet listener of the cloud."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

from littoral.transport import CLIENT_OPTIONS
from littoral_node.identity.identity import Identity


def open_channel(identity: Identity) -> grpc.aio.Channel:
    """A new connection to the fleet listener: mutual TLS, rooted in the fleet's own CA alone."""
    credentials = grpc.ssl_channel_credentials(identity.ca_pem, identity.key_pem, identity.certificate_pem)
    return grpc.aio.secure_channel(identity.fleet_address, credentials, options=CLIENT_OPTIONS)


async def unreachable(identity: Identity, limit_s: float) -> str:
    """Why the fleet listener cannot be reached with this identity; empty: it can."""
    channel = open_channel(identity)
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
