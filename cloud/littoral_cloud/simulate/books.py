"""What happened in one simulation, as an observer who sees every machine notes it: what served where, and from when to when."""

from __future__ import annotations

from collections import Counter, defaultdict
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
    exposed: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # by bad manifest: nodes it answered on
    exposed_s: Counter[str] = field(default_factory=Counter)  # by bad manifest: node-seconds
    committed: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # by manifest: when, of each node
    blob_bytes: int = 0  # of artifacts that nodes fetched
    messages: Counter[str] = field(default_factory=Counter)  # by kind, see traffic.py
    session_s: float = 0.0  # node-seconds
    sessions: int = 0
    sent_away: int = 0  # hellos that a busy coordinator refused
    unanswered: int = 0  # hellos to a coordinator that was down
    lies: int = 0

    def serves(self, node_id: str, manifest: str, now: float) -> None:
        """What answers on a node from now on; "": nothing, it is switched off."""
        self.settle(node_id, now)
        self.answers[node_id], self.since[node_id] = manifest, now
        if manifest in self.bad:
            self.exposed[manifest].add(node_id)

    def settle(self, node_id: str, now: float) -> None:
        """Counts what answered until now."""
        if (manifest := self.answers.get(node_id, "")) in self.bad:
            self.exposed_s[manifest] += now - self.since[node_id]  # type: ignore[assignment]
            self.since[node_id] = now

    @property
    def serving_bad(self) -> bool:
        """Whether a bad model answers anywhere now."""
        return any(manifest in self.bad for manifest in self.answers.values())
