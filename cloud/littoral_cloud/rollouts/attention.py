"""Which changes can move a rollout. A look at a whole rollout costs time that grows with it; this says when one is due.

Rules, in order:

1. `next_actions` alone decides. This remembers what it waited for, and says whether it could decide something else now; in doubt
   it says yes.
2. A look is due when its time came, when the rollout, its release or a candidate changed, and when another rollout of the model
   changed while this one is PENDING.
3. Before a wave runs, a look is due when a node changed that is waited for, or that might take the release now.
4. In a wave, and on the way back, a node that answers well is counted here. A look is due after the last one has answered, and at
   once where a node answers badly.
5. While a rollout is paused no node is waited for: a look is due when somebody resumes it, and where a node answers badly.

Example: a wave of 5,000 nodes makes some 20,000 reports. Each costs one comparison; the look that ends the wave is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from littoral_cloud.fleet.ledger import Announcement
from littoral_cloud.fleet.profile import PRESENCE, PROFILE
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.rollouts.eligibility import refusal
from littoral_cloud.rollouts.judge import answer_of_way_back
from littoral_cloud.rollouts.seen import NODE_KINDS, RolloutView
from littoral_cloud.rollouts.state import KIND, Assignment, RolloutState, Waits
from littoral_cloud.rollouts.wave_judge import NodeAnswer, answer_in_wave

_ANSWERS: Mapping[RolloutState, Callable[[Assignment, RolloutView], NodeAnswer]] = {
    RolloutState.WAVE: answer_in_wave,
    RolloutState.ROLLING_BACK: answer_of_way_back,
}


@dataclass(slots=True)
class Attention:
    """Of one rollout, from one look that found nothing to do.

    Attributes:
        seen: what that look saw; its nodes are the view's own, and change with it.
        until: when the next look is due in any case; seconds since 1970-01-01 UTC.
    """

    seen: RolloutView
    until: float
    awaited: set[str]  # node ids
    touched: Mapping[str, Assignment]  # by node id; of those that are not dropped

    @classmethod
    def after(cls, seen: RolloutView, waits: Waits) -> Attention:
        touched = {a.node_id: a for a in seen.rollout.assignments if a.touched and not a.dropped}
        return cls(seen, waits.until, set(waits.nodes), touched)

    def is_due(self, news: Iterable[Announcement], now: float) -> bool:
        return now >= self.until or any([self._matters(each) for each in news])  # all of them: each is counted

    def _matters(self, each: Announcement) -> bool:
        seen = self.seen
        if each.kind in NODE_KINDS:
            return self._node_matters(each.kind, each.id)
        if each.kind == KIND:
            return each.id == seen.rollout_id or seen.rollout.state is RolloutState.PENDING
        if each.kind == "measurement":
            return seen.rollout.state is RolloutState.MEASURING and each.id.partition("@")[0] in seen.digests
        return each.id == seen.rollout.release_id or each.id in seen.digests

    def _node_matters(self, kind: str, node_id: str) -> bool:
        seen, state = self.seen, self.seen.rollout.state
        if seen.rollout.paused_by and state is not RolloutState.WAVE:
            return False
        if state is RolloutState.PENDING:
            return kind in ("node", PRESENCE, PROFILE, TROUBLE) and self._could_begin(node_id)
        if state is RolloutState.MEASURING:
            return kind in ("node", PRESENCE, PROFILE) and node_id in self.awaited
        if (assignment := self.touched.get(node_id)) is None:
            return node_id in self.awaited  # its turn is waited for
        answer = _ANSWERS[state](assignment, seen)
        if answer is NodeAnswer.AWAITED or node_id not in self.awaited:
            return answer is NodeAnswer.BAD
        self.awaited.discard(node_id)
        return answer is NodeAnswer.BAD or not self.awaited

    def _could_begin(self, node_id: str) -> bool:
        """Whether the rollout may begin with this node: it can take the release, or ends the wait for an earlier rollout."""
        node = self.seen.nodes.get(node_id)
        if any(node_id in other.policy.nodes for other in self.seen.others.values()):
            return True
        return node is not None and node.connected and refusal(node, self.seen) is None
