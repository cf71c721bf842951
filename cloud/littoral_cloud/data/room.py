"""How much memory data may claim: a file of a few bytes may say that it holds terabytes."""

from __future__ import annotations

import os
from pathlib import Path

from littoral.errors import BadData

_SHARE = 0.8
"""Of what this machine could give now; the rest is for what works on the data."""


def room_bytes() -> int:
    """What data may take on this machine now: of the memory that is available, and that the control group allows."""
    free = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    lines = _text("/proc/meminfo").splitlines()
    free += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    limit = _text("/sys/fs/cgroup/memory.max").strip()
    if limit.isdecimal():
        used = _text("/sys/fs/cgroup/memory.current").strip()
        free.append(int(limit) - (int(used) if used.isdecimal() else 0))
    return int(_SHARE * max(0, min(free)))


def check_claim(what: str, wanted: int, *, hint: str) -> None:
    """Raises BadData where `wanted` bytes are more than there is room for."""
    if wanted > (room := room_bytes()):
        raise BadData(f"{what}: says that it holds more than there is memory: {wanted:,} bytes, {room:,} may be used", hint=hint)


def _text(path: str) -> str:
    """Empty where this machine has no such file."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
