"""What a child may take, how it is started, and how it ended. Light: no numpy."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_WORDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildLimits:
    """None: as the parent's. A limit is never over what the system allows the process at most."""

    memory_bytes: int | None = None  # of address space (RLIMIT_AS)
    open_files: int | None = None
    file_bytes: int | None = None  # of one file that it writes
    nice: int = 0  # added to the parent's: it yields the processor
    killed_first: bool = False  # the kernel takes this process before any other when memory is short

    def apply(self) -> None:
        """Called by the child. A limit that a system does not know is left out, the others hold.

        No core is ever dumped: that takes seconds, and the parent hears of the end only then. 1 and not 0: it says so to a
        program that takes dumps, too (core(5)).
        """
        for kind, most in (
            (resource.RLIMIT_AS, self.memory_bytes),
            (resource.RLIMIT_NOFILE, self.open_files),
            (resource.RLIMIT_FSIZE, self.file_bytes),
            (resource.RLIMIT_CORE, 1),
        ):
            if most is not None:
                bound(kind, most)
        os.nice(self.nice)
        if self.killed_first:
            with suppress(OSError):  # not Linux, or a sandbox without a /proc that can be written
                Path("/proc/self/oom_score_adj").write_text("1000")


def command_of(module: str) -> tuple[str, ...]:
    """The command that runs a module of ours."""
    return (sys.executable, "-m", module)


def bound(kind: int, most: int) -> None:
    """Bounds a resource of this process, as far as the system lets it."""
    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(kind)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))


def how_ended(code: int) -> str:
    """Of a return code, as subprocess gives it: SIGSEGV, or exit code 3."""
    if code == -signal.SIGKILL:
        return "SIGKILL (killed, perhaps for lack of memory)"
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def last_line(errors: bytes) -> str:
    """The last line that a process wrote to stderr: of a traceback, the one with the error."""
    return " ".join(errors.decode(errors="replace").strip().splitlines()[-1:])[:_WORDS]


def threads_environment(threads: int) -> dict[str, str]:
    """Variables for libraries that start threads when they are imported."""
    return dict.fromkeys(_THREADS, str(threads))


def training_environment(base: Mapping[str, str], home: Path) -> dict[str, str]:
    """The environment of a process that imports torch and flwr: one thread, nothing that calls home.

    On shared cores a second thread makes a small batch slower, not faster.

    Args:
        home: where Flower may write its files; never the user's home.
    """
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    return {**base, **quiet, **threads_environment(1)}
