"""One stream to the cloud, as a frozen value and a pure step: `step(link, event, now) -> link, effects`.

    1. The node sends Hello and waits GREETING_LIMIT_S for Welcome or Refusal.
    2. After Welcome it sends a heartbeat every interval, and echoes each heartbeat of the cloud once.
    3. SILENT_INTERVALS without any message end the stream.
    4. A desired state older than one that came on this stream is ignored.
    5. A refusal ends the stream, and names the time of the next try, or leaves it to the usual backoff.

Example: a Welcome with an interval of 10 s opens the link; at 10 s it sends heartbeat 1; without a message from the cloud it ends
with the effect Leave when SILENT_INTERVALS intervals have passed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from littoral import PROTOCOL_VERSION
from littoral.fleet.v1 import session_pb2
from littoral.transport import SILENT_INTERVALS
from littoral_node.link.retry import REVOKED_RETRY

GREETING_LIMIT_S = 20.0
SLOW_RETRY_S = 300.0
"""After a refusal that only an operator can lift."""

Reason = session_pb2.RefusalReason
_FOR_AN_OPERATOR = (
    Reason.REFUSAL_REASON_PROTOCOL_UNSUPPORTED,
    Reason.REFUSAL_REASON_NODE_UNKNOWN,
    Reason.REFUSAL_REASON_PROTOCOL_VIOLATION,
)


_CODES = {
    Reason.REFUSAL_REASON_NODE_UNKNOWN: "not-accepted",
    Reason.REFUSAL_REASON_NODE_REVOKED: "revoked",
    Reason.REFUSAL_REASON_NODE_WAITING: "waits",
}


class LinkPhase(StrEnum):
    GREETING = "greeting"  # Hello is sent, Welcome is awaited
    OPEN = "open"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class LinkState:
    """One stream. Times are seconds of a monotonic clock."""

    received_at: float
    beat_at: float  # when the last heartbeat was sent
    phase: LinkPhase = LinkPhase.GREETING
    heartbeat_s: float = GREETING_LIMIT_S / SILENT_INTERVALS
    sequence: int = 0  # of our heartbeats
    echoed: int = 0  # the highest heartbeat of the cloud that was echoed
    desired_generation: int = -1
    revoked: int = 0  # streams in a row that heard that the node was taken out, since the last Welcome


@dataclass(frozen=True, slots=True)
class Received:
    message: session_pb2.ConnectResponse


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream ended, or could not be opened."""

    detail: str


@dataclass(frozen=True, slots=True)
class Renewed:
    """This node has another certificate: it needs a new channel."""


@dataclass(frozen=True, slots=True)
class Send:
    message: session_pb2.ConnectRequest


@dataclass(frozen=True, slots=True)
class Opened:
    welcome: session_pb2.Welcome


@dataclass(frozen=True, slots=True)
class Deliver:
    message: session_pb2.ConnectResponse


@dataclass(frozen=True, slots=True)
class Barred:
    """An operator alone can let this node in again. `code`: stable, as in docs/reference/errors.md."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Note:
    """For the log."""

    event: str
    fields: tuple[tuple[str, str | int | float], ...] = ()


@dataclass(frozen=True, slots=True)
class Leave:
    """End this stream. `after_s`: when to try again; None: by the usual backoff."""

    after_s: float | None = None


LinkEvent = Received | Tick | Lost | Renewed
LinkEffect = Send | Opened | Deliver | Barred | Note | Leave


def step(link: LinkState, event: LinkEvent, now: float) -> tuple[LinkState, tuple[LinkEffect, ...]]:
    """What becomes of a stream, and what is to be done. After its end nothing changes."""
    if link.phase is LinkPhase.ENDED:
        return link, ()
    match event:
        case Lost(detail):
            return replace(link, phase=LinkPhase.ENDED), (Note("session-lost", (("detail", detail),)), Leave())
        case Renewed():
            return replace(link, phase=LinkPhase.ENDED), (Note("session-reopened"), Leave(0.0))
        case Tick():
            return _ticked(link, now)
        case Received(message):
            return _received(replace(link, received_at=now), message)


def _ticked(link: LinkState, now: float) -> tuple[LinkState, tuple[LinkEffect, ...]]:
    if now - link.received_at > SILENT_INTERVALS * link.heartbeat_s:
        silent = Note("session-lost", (("detail", f"no message for {now - link.received_at:.1f} s"),))
        return replace(link, phase=LinkPhase.ENDED), (silent, Leave())
    if link.phase is LinkPhase.OPEN and now - link.beat_at >= link.heartbeat_s:
        sequence = link.sequence + 1
        beat = session_pb2.ConnectRequest(heartbeat=session_pb2.Heartbeat(sequence=sequence))
        return replace(link, sequence=sequence, beat_at=now), (Send(beat),)
    return link, ()


def _received(link: LinkState, message: session_pb2.ConnectResponse) -> tuple[LinkState, tuple[LinkEffect, ...]]:
    match message.WhichOneof("message"):
        case "refusal":
            return replace(link, phase=LinkPhase.ENDED), _refused(message.refusal, link.revoked)
        case "welcome" if link.phase is LinkPhase.GREETING:
            beat = message.welcome.heartbeat_interval_s
            open_link = replace(link, phase=LinkPhase.OPEN, heartbeat_s=beat if 0 < beat < 3600 else 10.0, revoked=0)
            return open_link, (Opened(message.welcome), Note("session-open", (("node", message.welcome.node_id),)))
        case "heartbeat":
            sequence = message.heartbeat.sequence
            if sequence <= max(link.sequence, link.echoed):  # our own that came back, or one that goes round in a circle
                return link, ()
            return replace(link, echoed=sequence), (Send(session_pb2.ConnectRequest(heartbeat=message.heartbeat)),)
        case "desired" if link.phase is LinkPhase.OPEN:
            if message.desired.generation < link.desired_generation:  # late: this stream brought a newer one
                return link, ()
            return replace(link, desired_generation=message.desired.generation), (Deliver(message),)
        case "telemetry_ack" | "trust_anchors" if link.phase is LinkPhase.OPEN:
            return link, (Deliver(message),)
    return link, ()  # a message of a newer cloud


def _refused(refusal: session_pb2.Refusal, revoked: int) -> tuple[LinkEffect, ...]:
    reason = Reason.Name(refusal.reason).removeprefix("REFUSAL_REASON_") if refusal.reason in Reason.values() else "UNKNOWN"
    after = refusal.retry_after_s if refusal.retry_after_s > 0 else None
    if after is None and refusal.reason == Reason.REFUSAL_REASON_NODE_REVOKED:
        after = REVOKED_RETRY.bound_s(revoked)
    if after is None and (refusal.reason in _FOR_AN_OPERATOR or reason == "UNKNOWN"):
        after = SLOW_RETRY_S
    fields: tuple[tuple[str, str | int | float], ...] = (("reason", reason), ("detail", refusal.detail))
    if refusal.reason == Reason.REFUSAL_REASON_PROTOCOL_UNSUPPORTED:
        fields += (("protocol", PROTOCOL_VERSION), ("cloud_speaks", f"{refusal.protocol_min}-{refusal.protocol_max}"))
    barred = (Barred(code, refusal.detail),) if (code := _CODES.get(refusal.reason)) else ()
    return *barred, Note("session-refused", fields), Leave(after)
