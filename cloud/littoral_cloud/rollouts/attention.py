"""Which changes can move a rollout. A look at a whole rollout costs time that grows with it; this says when one is due.

Rules, in order:

1. `next_actions` alone decides. This remembers what it waited for, and says whether it could decide something else now; in doubt
   it says yes.
2. A look is due when its time came, when the rollout, its release or a candidate changed, and when another rollout of the model
   changed while this one is PENDING, or began to wait while nodes of this one wait for their turns.
3. Before a wave runs, a look is due when a node changed that is waited for, or that might take the release now.
4. In a wave, and on the way back, answers gather: a look is due once a batch of nodes has answered, after the last one, RECORD_S
   after the first of them, and at once where a node answers badly.
5. While a rollout is paused no node is waited for: a look is due when somebody resumes it, and where a node answers badly.

Example: a wave of 5,000 nodes makes some 20,000 reports. Each costs one comparison; looks are made 25 times, or once in RECORD_S.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from littoral_cloud.fleet.ledger import Announcement
from littoral_cloud.fleet.profile import PRESENCE, PROFILE
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.rollouts.answers import NodeAnswer
from littoral_cloud.rollouts.assignments import BATCH_NODES
from littoral_cloud.rollouts.eligibility import refusal
from littoral_cloud.rollouts.events import Waits
from littoral_cloud.rollouts.gating import AGAIN_S
from littoral_cloud.rollouts.seen import NODE_KINDS, RolloutView
from littoral_cloud.rollouts.state import KIND, RolloutState

RECORD_S = 1.0
"""For so long the good answers of a wave gather at most before they are recorded."""


@dataclass(slots=True)
class Attention:
    """Of one rollout, from one look that found nothing to do.

    Attributes:
        seen: what that look saw; its nodes and assignments are the view's own, and change with it.
        until: when the next look is due in any case; seconds since 1970-01-01 UTC.
        awaited: node ids that were waited for before a wave ran, or whose turn is waited for.
        evidence: what gates knew; where nodes show more, a look is due within AGAIN_S.
    """

    seen: RolloutView
    until: float
    awaited: frozenset[str]
    evidence: int  # version of the pool

    @classmethod
    def after(cls, seen: RolloutView, waits: Waits) -> Attention:
        return cls(seen, waits.until, waits.nodes, seen.assignments.evidence.version)

    def is_due(self, news: Iterable[Announcement], now: float) -> bool:
        return now >= self.until or any(
            [self._matters(each, now) for each in news]
        )  # all of them: each may bring `until` forward

    def _matters(self, each: Announcement, now: float) -> bool:
        seen = self.seen
        if each.kind in NODE_KINDS:
            return self._node_matters(each.kind, each.id, now)
        if each.kind == KIND and each.id == seen.rollout_id:
            return not 0 < each.generation <= seen.generation  # that one was seen
        if each.kind == KIND:
            return seen.rollout.state is RolloutState.PENDING or (bool(self.awaited) and self._may_ask(each.id))
        if each.kind == "measurement":
            return seen.rollout.state is RolloutState.MEASURING and each.id.partition("@")[0] in seen.digests
        return each.id == seen.rollout.release_id or each.id in seen.digests

    def _may_ask(self, rollout_id: str) -> bool:
        """Whether another rollout may have asked for its turn since the last look."""
        known = self.seen.others.get(rollout_id)
        return known is None or (known.model == self.seen.rollout.model and known.state is RolloutState.PENDING)

    def _node_matters(self, kind: str, node_id: str, now: float) -> bool:
        seen, state = self.seen, self.seen.rollout.state
        if seen.rollout.paused_by and state is not RolloutState.WAVE:
            return False
        if state is RolloutState.PENDING:
            return kind in ("node", PRESENCE, PROFILE, TROUBLE) and self._could_begin(node_id)
        if state is RolloutState.MEASURING:
            return kind in ("node", PRESENCE, PROFILE) and node_id in self.awaited
        book = seen.assignments
        if state is RolloutState.WAVE and book.evidence.version != self.evidence:
            self.until = min(self.until, now + AGAIN_S)
        answer = book.answer_of(node_id)
        if answer is None:
            return node_id in self.awaited  # its turn is waited for
        if answer is NodeAnswer.AWAITED:
            return False
        if answer is NodeAnswer.BAD and state is RolloutState.WAVE:
            return True
        known = sum(len(book.answered(each)) for each in NodeAnswer if each is not NodeAnswer.AWAITED)
        if known >= BATCH_NODES or not book.answered(NodeAnswer.AWAITED):
            return True
        self.until = min(self.until, now + RECORD_S)
        return False

    def _could_begin(self, node_id: str) -> bool:
        """Whether the rollout may begin with this node: it can take the release, or ends the wait for an earlier rollout."""
        node = self.seen.nodes.get(node_id)
        if any(node_id in other.policy.nodes for other in self.seen.others.values()):
            return True
        return node is not None and node.connected and refusal(node, self.seen) is None
