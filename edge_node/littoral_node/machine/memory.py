"""Gives memory back to the system: what was freed, and pages of libraries that no code reads again.

Starting an agent and loading a runtime touch most pages of a few large libraries (onnxruntime, gRPC, cryptography): start-up
code, symbol tables, 60 MB in all; answering requests needs a third of them. They are clean pages of files, so this process can
drop them at once, and a page that is needed later comes back from the page cache. The kernel would reclaim them only when
memory is short, with a stall; on a small machine it is better to drop them early.

Call `give_back` now and then, and after a model is loaded or closed; `settle` after an agent has started or changed its model.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import mmap
import re
import sys
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Map
from pathlib import Path
from typing import Any

_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+\s*(.*)")

Mapping = tuple[int, int]
"""(address, bytes)"""


def trim() -> None:
    """What was freed, and nothing else. Does nothing where the system has no such call."""
    trim_libc = getattr(_libc(), "malloc_trim", None)  # glibc keeps what was freed unless it is asked; others have no such call
    if trim_libc is not None:
        trim_libc(0)


def give_back() -> None:
    """What was freed, and the code of libraries: about a millisecond. Does nothing where the system has no such calls."""
    trim()
    _drop(code_mappings(_text("/proc/self/maps")))


def settle() -> None:
    """As give_back, and everything else that a file can give again; garbage is collected first. Tens of milliseconds: the kernel
    counts the pages of each mapping."""
    gc.collect()
    give_back()
    _drop(clean_file_mappings(_text("/proc/self/smaps")))


def code_mappings(maps: str) -> Iterator[Mapping]:
    """Mappings of files' code (r-xp): it is never written, so the file holds it; others may be, by the dynamic linker.

    Args:
        maps: the text of /proc/PID/maps (proc(5)).
    """
    for line in maps.splitlines():
        if (match := _MAPPING.fullmatch(line)) is not None and match[3] == "r-xp" and _is_file(match[4]):
            yield _place(match)


def clean_file_mappings(smaps: str) -> Iterator[Mapping]:
    """Mappings of files that cannot be written and hold no page that differs from the file.

    Args:
        smaps: the text of /proc/PID/smaps (proc(5)).
    """
    current: Mapping | None = None
    for line in smaps.splitlines():
        if (match := _MAPPING.fullmatch(line)) is not None:
            current = _place(match) if "w" not in match[3] and _is_file(match[4]) else None
        elif current is not None and line.startswith("Anonymous:"):
            if line.split()[1] == "0":  # relocations make private copies: those must stay
                yield current
            current = None


def available_bytes() -> int:
    """What this machine could give to programs now; a gigabyte where there is no /proc."""
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1_000_000_000


def reset_peak() -> None:
    """Sets VmHWM back to what is resident now (proc(5), clear_refs). Where that is not allowed, the peak is the process's own:
    too high for a candidate after a larger one, never too low."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        print(f"peak memory is not reset: {error}", file=sys.stderr)


def added(before: Map[str, int], after: Map[str, int]) -> int:
    """The peak over what was there before, without the pages of files: they are the runtime's code, as much for every model."""
    if "VmHWM" not in after:
        return 0
    code = max(0, after.get("RssFile", 0) - before.get("RssFile", 0))
    return max(0, after["VmHWM"] - before["VmRSS"] - code)


def _is_file(path: str) -> bool:
    return path.startswith("/") and not path.endswith(" (deleted)")


def _place(match: re.Match[str]) -> Mapping:
    begin, end = int(match[1], 16), int(match[2], 16)
    return begin, end - begin


def _drop(mappings: Iterable[Mapping]) -> None:
    for address, size in mappings:
        # The result does not matter: where the kernel refuses, the pages stay.
        _libc().madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.MADV_DONTNEED)


def _text(path: str) -> str:
    """Empty where there is no /proc: not Linux."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


@functools.cache
def _libc() -> Any:
    return ctypes.CDLL(None)
