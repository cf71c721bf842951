"""The warm worker process: holds torch and Flower, takes one message after another on stdin, answers on stdout.

    python -m littoral_node.federation.worker --parent PID --labelled FOLDER

A frame is a 4-byte big-endian length and that many bytes. In: a Flower Message. Out: one byte, OK or FAILED, then a
Message or a JSON object {"code", "detail"}. A Message that comes coded (littoral.codec) is answered with a coded one: here, so
that the agent holds neither the bytes nor zstd's memory. Keeping it a process of its own means that training may crash or run
out of memory without touching inference; keeping it warm saves the import of torch in every round.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import traceback
from typing import BinaryIO

from littoral import codec
from littoral.child import die_with_parent
from littoral.codec_errors import codec_errors
from littoral.errors import FleetError
from littoral.transport import MAX_BLOB_BYTES

OK = b"\x00"
FAILED = b"\x01"
MAX_FRAME_BYTES = 1 << 30


def read_frame(stream: BinaryIO) -> bytes | None:
    """None at the end of the stream, a cut frame included: the agent is gone or wants no more."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    length = int.from_bytes(head, "big")
    body = stream.read(length)
    return body if len(body) == length else None


def write_frame(stream: BinaryIO, status: bytes, body: bytes) -> None:
    stream.write((len(body) + 1).to_bytes(4, "big") + status + body)
    stream.flush()


def answer(request: bytes, labelled: str) -> tuple[bytes, bytes]:
    """(status, body) for one message: whatever goes wrong is an answer, not an end."""
    try:
        from flwr.app import Context, RecordDict

        from littoral.flower_private import from_bytes, to_bytes
        from littoral_node.federation.client_app import app

        coded = codec.is_coded(request)
        with codec_errors():
            message = from_bytes(codec.decode(request, limit=MAX_BLOB_BYTES) if coded else request)
        context = Context(
            run_id=message.metadata.run_id,
            node_id=message.metadata.dst_node_id,
            node_config={"labelled": labelled},
            state=RecordDict(),
            run_config={},
        )
        reply = to_bytes(app(message, context))
        return OK, codec.encode(reply, quick=True) if coded else reply
    except MemoryError as error:
        return FAILED, _failure("out-of-memory", str(error))
    except FleetError as error:
        return FAILED, _failure(error.code, str(error))
    except Exception as error:  # noqa: BLE001 - the boundary: a bug in training must reach the operator as words
        traceback.print_exc()
        return FAILED, _failure("training-failed", f"{type(error).__name__}: {error}")


def _failure(code: str, detail: str) -> bytes:
    return json.dumps({"code": code, "detail": detail[:2000]}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m littoral_node.federation.worker")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--labelled", required=True)
    parser.add_argument("--nice", type=int, default=0)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    os.nice(arguments.nice)
    # Whatever prints must not end up between frames.
    frames_out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while (request := read_frame(sys.stdin.buffer)) is not None:
        status, body = answer(request, arguments.labelled)
        write_frame(frames_out, status, body)
        gc.collect()


if __name__ == "__main__":
    main()
