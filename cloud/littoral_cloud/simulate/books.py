"""What happened in one simulation, as an observer who sees every machine notes it: what served where, and from when to when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass(slots=True)
class Books:
    """Times are seconds since 1970-01-01 UTC.

    Attributes:
        bad: manifests that no node should serve.
    """

    bad: Collection[str] = frozenset()
    answers: dict[str, str] = field(default_factory=dict)  # the manifest that answers on each node now
    since: dict[str, float] = field(default_factory=dict)
    exposed: set[str] = field(default_factory=set)  # nodes on which a bad model ever answered
    exposed_s: float = 0.0  # node-seconds
    first: dict[str, list[float]] = field(default_factory=dict)  # by manifest: when each node committed to it
    bytes_down: int = 0  # of artifacts
    messages: Counter[str] = field(default_factory=Counter)  # by kind
    session_s: float = 0.0  # node-seconds
    sessions: int = 0
    refused: int = 0
    longest_return_s: float = 0.0  # after a restart of the coordinator

    def serves(self, node_id: str, manifest: str, now: float) -> None:
        """What answers on a node from now on; "": nothing, it is switched off."""
        self.settle(node_id, now)
        self.answers[node_id], self.since[node_id] = manifest, now
        if manifest in self.bad:
            self.exposed.add(node_id)

    def settle(self, node_id: str, now: float) -> None:
        """Counts what answered until now."""
        if self.answers.get(node_id, "") in self.bad:
            self.exposed_s += now - self.since[node_id]
            self.since[node_id] = now

    def committed(self, manifest: str, now: float) -> None:
        self.first.setdefault(manifest, []).append(now)

    @property
    def serving_bad(self) -> int:
        """Nodes on which a bad model answers now."""
        return sum(manifest in self.bad for manifest in self.answers.values())
