"""Threads allocate from one arena once the process asked for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import ctypes, sys, threading
from littoral.one_arena import use_one_arena

if sys.argv[1] == "one" and not use_one_arena():
    sys.exit(3)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(8)

def allocate():
    together.wait()
    for _ in range(100):
        libc.malloc(ctypes.c_size_t(4096))

threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


def arenas(how: str) -> int:
    ended = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=False)
    if ended.returncode == 3:
        pytest.skip("no glibc")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.count("<heap nr=")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_threads_share_one_arena() -> None:
    assert arenas("one") == 1
    assert arenas("many") > 1
