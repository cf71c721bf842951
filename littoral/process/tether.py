"""Runs a command that dies with the process that started it, even by kill -9.

Run as a script, `python -I -S tether.py PARENT_PID SIGNAL COMMAND ...`: it asks the kernel for that signal at the parent's death
and becomes the command. A launcher of its own and not `preexec_fn`, which would fork a process full of gRPC threads, and not
`setpriv --pdeathsig`, which busybox and macOS lack. The signal comes when the spawning THREAD ends: spawn from the thread
of the event loop. Where there is no prctl (macOS) the command simply runs.

Imports nothing of ours, so that it starts in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def tethered(*command: str, how: signal.Signals = signal.SIGTERM) -> tuple[str, ...]:
    """The command line that runs `command` tethered to this process."""
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(how)), *command)


def die_with_parent(parent: int, how: int = signal.SIGKILL) -> None:
    """Has the kernel end this process when the thread ends that started it. Exits at once where `parent` has gone already.

    Linux only: elsewhere a child must notice by itself.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, int(how), 0, 0, 0) != 0:
            sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
        if os.getppid() != parent:  # it died before we asked
            sys.exit("the parent is gone")


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]), int(sys.argv[2]))
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606
