"""A TCP socket to listen on."""

from __future__ import annotations

import socket


def bound(host: str, port: int) -> socket.socket:
    """Raises OSError where the port is in use or must not be used."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
