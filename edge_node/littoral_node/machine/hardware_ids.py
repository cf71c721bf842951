"""By what an operator may know this machine before it enrols: serial numbers, and the addresses of its network cards."""

from __future__ import annotations

import re
from pathlib import Path

_SERIALS = ("proc/device-tree/serial-number", "sys/class/dmi/id/product_serial")
_NOT_SERIALS = frozenset({"", "0", "none", "default-string", "to-be-filled-by-o.e.m.", "system-serial-number", "not-specified"})
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MOST = 16


def hardware_ids(root: Path = Path("/")) -> tuple[str, ...]:
    """Like "serial:10000000abcd", "mac:dc:a6:32:01:02:03"; what this user may not read is left out.

    Args:
        root: below which the kernel's files lie.
    """
    serials = (re.sub(r"[^a-z0-9._-]+", "-", _text(root / place).lower()).strip("-")[:64] for place in _SERIALS)
    found = [f"serial:{serial}" for serial in serials if serial not in _NOT_SERIALS]
    cards = sorted(each for each in _entries(root / "sys/class/net") if (each / "device").exists())  # no bridges, no containers
    addresses = (_text(card / "address").lower() for card in cards)
    found += [f"mac:{address}" for address in addresses if _MAC.fullmatch(address) and address != "00:00:00:00:00:00"]
    return tuple(dict.fromkeys(found))[:MOST]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip("\0 \n")
    except OSError:
        return ""
