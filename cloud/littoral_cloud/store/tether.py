"""Runs a command that dies with the process that started it, even by kill -9.

Run as a script, `python -I -S tether.py PARENT_PID COMMAND ...`: it asks the kernel for SIGTERM at the parent's death and
becomes the command. A launcher of its own and not `preexec_fn`, which would fork a process full of gRPC threads, and not
`setpriv --pdeathsig`, which busybox and macOS lack. The signal comes when the spawning THREAD ends: spawn from the thread
of the event loop. Where there is no prctl (macOS) the command simply runs; `embedded.py` ends a left-over server.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def tethered(*command: str) -> tuple[str, ...]:
    """The command line that runs `command` tethered to this process."""
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), *command)


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            sys.exit(f"tether: prctl failed: {os.strerror(ctypes.get_errno())}")
        if os.getppid() != parent:  # it died before we asked
            sys.exit("tether: the parent is gone")
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
