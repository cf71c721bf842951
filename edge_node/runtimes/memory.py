"""Gives memory that was freed back to the system, where the C library can (glibc's malloc_trim)."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library: nothing to call
        return None
    return trim


def give_back() -> None:
    """A few milliseconds; called after a model was closed."""
    if (trim := _malloc_trim()) is not None:
        trim(0)
