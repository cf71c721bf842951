"""How many bytes travel: artifacts by their sizes, messages by the size of one of each kind as it is on the wire.

TLS, HTTP/2 and telemetry are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from littoral import PROTOCOL_VERSION
from littoral.digest import digest_of
from littoral.fleet.v1 import session_pb2

Up, Down = session_pb2.ConnectRequest, session_pb2.ConnectResponse
_MODEL, _DIGEST = "simulated", digest_of(b"any")


@cache
def sizes() -> Mapping[str, tuple[int, int]]:
    """Bytes up and down that a message of a kind is, with its answer."""
    hello = session_pb2.Hello(protocol_version=PROTOCOL_VERSION, agent_version="0.1.0", boot_id="0" * 32)
    hello.labelled_examples[_MODEL] = 1_000
    welcome = session_pb2.Welcome(node_id="0" * 16, server_version="0.1.0", heartbeat_interval_s=10.0, telemetry_interval_s=10.0)
    reported = session_pb2.ReportedState(generation=2**41, observed_generation=10)
    reported.models[_MODEL].CopyFrom(
        session_pb2.ReportedModel(
            state=session_pb2.UPDATE_STATE_PROBATION,
            desired_generation=10,
            target_manifest_digest=_DIGEST,
            serving_manifest_digest=_DIGEST,
            previous_manifest_digest=_DIGEST,
        )
    )
    desired = session_pb2.DesiredState(generation=10)
    desired.models[_MODEL].CopyFrom(
        session_pb2.DesiredModel(
            manifest_digest=_DIGEST,
            rollout_id=f"{_MODEL}-1-r1",
            generation=10,
            probation=session_pb2.ProbationPolicy(duration_s=600.0, max_accuracy_drop=0.05, max_failure_rate=0.01),
        )
    )
    measurement = session_pb2.Measurement(manifest_digest=_DIGEST, p50_ms=1.0, p95_ms=1.0, p99_ms=1.0, samples=100)
    beat = session_pb2.Heartbeat(sequence=1_000)
    return {
        "hello": (Up(hello=hello).ByteSize(), Down(welcome=welcome).ByteSize()),
        "reported": (Up(reported=reported).ByteSize(), 0),
        "desired": (0, Down(desired=desired).ByteSize()),
        "measurement": (Up(measurement=measurement).ByteSize(), 0),
        "heartbeat": (Up(heartbeat=beat).ByteSize(), Down(heartbeat=beat).ByteSize()),
    }


def message_bytes(messages: Mapping[str, float]) -> tuple[int, int]:
    """Up and down. Args: messages: how many of each kind."""
    up = sum(many * sizes()[kind][0] for kind, many in messages.items())
    down = sum(many * sizes()[kind][1] for kind, many in messages.items())
    return round(up), round(down)
