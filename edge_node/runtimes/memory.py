"""Gives memory back to the system: what was freed, and library code that ran once and is not needed to serve.

Loading a runtime and starting a server touches most pages of their libraries, 60 MB in all; answering requests needs a third of
them. The kernel would take such pages when memory is short; on a small machine it is better never to hold them.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@functools.cache
def _libc() -> Any:
    return ctypes.CDLL(None)


def give_back() -> None:
    """A few milliseconds; the code that is still needed comes back from the page cache when it runs next."""
    trim = getattr(_libc(), "malloc_trim", None)  # glibc keeps what was freed unless it is asked; others have no such call
    if trim is not None:
        trim(0)
    if sys.platform == "linux":
        for start, size in _code(Path("/proc/self/maps").read_text()):
            # What it answers is of no interest: where the kernel says no, the pages stay.
            _libc().madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_DONTNEED)


def _code(maps: str) -> Iterator[tuple[int, int]]:
    """(address, bytes) of each mapping of a file's code in /proc/self/maps (proc(5)).

    Code alone (r-xp): it is never written, so the file holds it; other private mappings may have been, by the dynamic linker.
    """
    for line in maps.splitlines():
        addresses, permissions, _, _, _, *path = line.split(maxsplit=5)
        if permissions == "r-xp" and path and path[0].startswith("/") and not path[0].endswith(" (deleted)"):
            start, end = (int(address, 16) for address in addresses.split("-"))
            yield start, end - start
