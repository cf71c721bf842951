"""A child of ours that does not do what it should.

    python -m tests.kit.bad_child HOW ...

HOW: ends (before it is ready), waits (and is never ready); on its first call: dies, hangs, garbage (on the line), large (a frame
over the bound), other (answers another call).
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from typing import Any

from littoral.process.child import Answer, serve

HOW = sys.argv.pop(1)
LINE = int(sys.argv[sys.argv.index("--line") + 1])
RAW = {"garbage": b"HTTP/1.1 400 Bad Request\r\n\r\n", "large": struct.pack("<4sIQ", b"LTRL", 64, 1 << 60)}


def prepare(settings: dict[str, Any]) -> tuple[Answer, dict[str, Any]]:
    if HOW == "ends":
        raise ValueError("there is no such port")
    if HOW == "waits":
        threading.Event().wait()
    return answer, {}


def answer(head: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    if HOW == "dies":
        raise ValueError("it was too much")
    if HOW == "other":
        return {"call": 7}, {}
    if HOW in RAW:
        with socket.socket(fileno=os.dup(LINE)) as line:
            line.sendall(RAW[HOW])
    threading.Event().wait()
    return {}, {}


if __name__ == "__main__":
    serve(prepare)
