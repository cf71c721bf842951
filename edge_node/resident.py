"""Keeps the agent's resident memory to what it uses.

Starting touches most pages of a few large libraries (onnxruntime, gRPC, cryptography): symbol tables, start-up code. They stay
resident although nobody reads them again. They are clean pages of files, so this process can drop them at once, and the kernel
maps them back when they are read; on a small machine it would do so itself under pressure, later and with a stall.
"""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Iterator
from pathlib import Path

from edge_node.runtimes.memory import give_back

MADV_DONTNEED = 4
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+\s+(/.*)")


def clean_file_mappings(smaps: str) -> Iterator[tuple[int, int]]:
    """(address, length) of mappings that are files, cannot be written, and hold no page that differs from the file.

    Args:
        smaps: the text of /proc/PID/smaps (proc(5)).
    """
    current: tuple[int, int] | None = None
    for line in smaps.splitlines():
        if (match := _MAPPING.fullmatch(line)) is not None:
            begin, end = int(match[1], 16), int(match[2], 16)
            current = (begin, end - begin) if "w" not in match[3] else None
        elif line[:1].isdigit() or line[:1] in "abcdef":
            current = None  # a mapping without a file
        elif current is not None and line.startswith("Anonymous:"):
            if line.split()[1] == "0":  # relocations make private copies: those must stay
                yield current
            current = None


def settle() -> None:
    """Called after the start and after a model was swapped: a few milliseconds. Does nothing where there is no /proc."""
    gc.collect()
    give_back()
    try:
        smaps = Path("/proc/self/smaps").read_text()
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):  # not Linux
        return
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for address, length in clean_file_mappings(smaps):
        madvise(address, length, MADV_DONTNEED)
