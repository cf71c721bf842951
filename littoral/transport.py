"""gRPC settings that have to match on both ends of a channel, and how an address is written. See docs/decisions/ for where each
number comes from."""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address

from littoral.errors import BadInput

MAX_MESSAGE_BYTES = 64 * 1024
"""Largest message of a session. A larger one is refused by its sender: one over gRPC's own limit ends the whole stream."""

CHUNK_BYTES = 256 * 1024
"""Data in one message of a blob stream."""

MAX_BLOB_BYTES = 512 * 1024 * 1024
"""Largest blob that the cloud takes or a node asks for."""

KEEPALIVE_MS = 30_000

SILENT_INTERVALS = 3
"""Heartbeat intervals without a message after which a session is over, on both sides."""

LONGEST_PROBATION_S = 86_400.0
"""A node refuses a longer one, and the cloud starts no rollout with it."""

LONGEST_DEFERRAL_S = 86_400.0
"""A node refuses to be allowed more, and the cloud starts no rollout with it."""

LONGEST_BACKOFF_S = 30.0
"""A node that lost its session tries again after this at most, unless the cloud asked for more."""

_COMMON = (
    ("grpc.max_receive_message_length", CHUNK_BYTES + 16 * 1024),
    ("grpc.max_send_message_length", CHUNK_BYTES + 16 * 1024),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", 10_000),
)

CLIENT_OPTIONS: tuple[tuple[str, int], ...] = (
    *_COMMON,
    ("grpc.enable_http_proxy", 0),  # a proxy in the environment would take even 127.0.0.1
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 10_000),  # how long one attempt may take: a handshake on a busy small machine is slow
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    *_COMMON,
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MS - 5_000),
    ("grpc.max_connection_idle_ms", 60_000),  # one without a stream is a file that somebody else may need
    ("grpc.enable_channelz", 0),  # its notes on each connection: 5 kB
    ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a lottery
)


def split_address(text: str, field: str) -> tuple[str, int]:
    """Host and port of HOST:PORT, where an IPv6 host stands in brackets. Raises BadInput, naming the field."""
    host, separator, port = text.rpartition(":")
    if not separator or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise BadInput(f"{field}: {text!r} is not HOST:PORT", hint="for example 127.0.0.1:8080; port 0 takes any free one")
    return host.removeprefix("[").removesuffix("]"), int(port)


def join_address(host: str, port: int) -> str:
    """HOST:PORT, as split_address reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def try_to_listen(host: str, port: int) -> None:
    """Raises OSError where no server could listen there now, socket.gaierror among them where this machine has no such address.

    gRPC's own refusal is a RuntimeError without a reason, and lines on stderr.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)


def is_loopback(host: str) -> bool:
    """Whether this machine alone reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def asked_at(host: str) -> str:
    """Where a server that listens on this host is asked from its own machine: one that listens on all addresses, on loopback."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
