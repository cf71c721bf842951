"""What REST and gRPC servers have in common: their limits, and what they ask of callers."""

from __future__ import annotations

from dataclasses import dataclass, field

from littoral_node.serving.access import Access
from littoral_node.serving.body_memory import BodyMemory
from littoral_node.serving.service import MAX_BODY_BYTES
from littoral_node.serving.tls import Tls


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """Of one listener."""

    access: Access = field(default_factory=Access)  # what callers must show
    tls: Tls | None = None  # None: plain
    body_memory: BodyMemory = field(default_factory=BodyMemory)  # shared with other listeners
    max_body_bytes: int = MAX_BODY_BYTES
    body_s: float = 10.0  # how long a body may take to come
    max_connections: int | None = None  # open at one time, further ones are closed; None: the server's own bound
