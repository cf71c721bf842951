"""What a process that we start owes the one that started it, to end with it and to keep to itself; and how one has ended."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Called by a child first of all: has the kernel end it when the process `parent` ends, even by kill -9.

    Linux only; elsewhere a child must notice the end of its stdin. The parent must start its children from its main
    thread: the signal follows the thread. Exits at once where the parent has gone already.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it went before we asked
        sys.exit(1)


def how_ended(code: int) -> str:
    """Of a process's return code, as subprocess gives it: SIGSEGV, or exit code 3."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def last_line(said: bytes) -> str:
    """Of what it wrote to stderr."""
    return " ".join(said.decode(errors="replace").strip().splitlines()[-1:])[:300]


def training_environment(base: Mapping[str, str], home: Path) -> dict[str, str]:
    """The environment of a process that imports torch and flwr: one thread, nothing that calls home.

    Args:
        home: where Flower may keep its files; never the user's home.
    """
    return {
        **base,
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_HOME": str(home),
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",  # on shared cores a second thread makes a small batch slower, not faster
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
