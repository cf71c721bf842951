"""The warm training process, child of federation/warm.py: answers one Flower message after another.

A call carries the bytes of a message, and its answer those of the reply. A message that comes coded (littoral.codec) is answered
with a coded one: here, so that the agent holds neither the bytes nor zstd's memory.
"""

from __future__ import annotations

import gc
import traceback
from typing import Any

import numpy as np

from littoral import codec
from littoral.codec_errors import codec_errors
from littoral.errors import FleetError
from littoral.process.child import Answer, serve
from littoral.transport import MAX_BLOB_BYTES


def prepare(settings: dict[str, Any]) -> tuple[Answer, dict[str, Any]]:
    def answer(head: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            return {}, {"reply": np.frombuffer(trained(arrays["message"].tobytes(), settings["labelled"]), np.uint8)}
        except FleetError:
            raise
        except MemoryError as error:
            raise FleetError.with_code("out-of-memory", str(error)) from error
        except Exception as error:  # the boundary: a bug in training must reach the operator as words
            traceback.print_exc()
            raise FleetError.with_code("training-failed", f"{type(error).__name__}: {error}") from error
        finally:
            gc.collect()

    return answer, {}


def trained(request: bytes, labelled: str) -> bytes:
    """The reply to one message."""
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
    return codec.encode(reply, quick=True) if coded else reply


if __name__ == "__main__":
    serve(prepare)
