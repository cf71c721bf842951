"""Datagrams in which the kernel announces that a power supply or a heat zone changed. Where the socket cannot be opened, a slow
timer alone reads the machine.
"""

from __future__ import annotations

import socket

_KERNEL_GROUP = 1
_MOST_BYTES = 8192
SUBSYSTEMS = ("power_supply", "thermal", "net")


def open_uevents() -> socket.socket | None:
    """Not blocking; None where this system has no such thing, or does not let us listen."""
    if not hasattr(socket, "AF_NETLINK"):
        return None
    try:
        listening = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 15)  # NETLINK_KOBJECT_UEVENT
    except OSError:
        return None
    try:
        listening.setblocking(False)
        listening.bind((0, _KERNEL_GROUP))
    except OSError:
        listening.close()
        return None
    return listening


def drained(listening: socket.socket) -> bool:
    """Takes all that waits; whether some of it was about power, heat or a network device. A message that was lost counts."""
    matters = False
    while True:
        try:
            message = listening.recv(_MOST_BYTES)
        except BlockingIOError:
            return matters
        except OSError:  # ENOBUFS: there were more than fit
            return True
        if not message:
            return matters
        matters = matters or subsystem(message) in SUBSYSTEMS


def subsystem(message: bytes) -> str:
    """Of a message "change@/devices/...\\0ACTION=change\\0SUBSYSTEM=power_supply\\0..."; empty where it names none."""
    for part in message.split(b"\0"):
        if part.startswith(b"SUBSYSTEM="):
            return part.removeprefix(b"SUBSYSTEM=").decode(errors="replace")
    return ""
