"""Ports for servers that come back to the same one: port 0 gives one that somebody else may be given while they are away."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""From here on the kernel gives ports to whoever names none."""
_FIRST = 10_000


def lasting_port() -> int:
    """A port of 127.0.0.1 that is free now, and that nobody is given who does not name it."""
    end = int(_GIVEN.read_text().split()[0]) if _GIVEN.exists() else 32_768
    drawn = random.SystemRandom()
    while True:
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", drawn.randrange(_FIRST, max(end, _FIRST + 1_000))))
            except OSError:
                continue
            port: int = tried.getsockname()[1]
            return port
