"""The assignments of one rollout that goes on, in order: what a look asks of them costs what changed, not what there is.

Rules:

1. It hears of each assignment and each node that changed (`put`, `node_changed`), and sorts that one in: O(log n).
2. Whose turn is next, who has answered how, and whose time is over first is then known without a walk.
3. `nodes` are the view's own, and change with it.

Example: in a wave of 10,000 nodes 200 have answered since the last look. The look takes the 200, and the first of those that are
still awaited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush

from littoral_cloud.rollouts.answers import NodeAnswer, answer_of, has_deferred, heard_since
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.gates.evidence import EvidencePool

_NONE: Mapping[str, Assignment] = {}


class AssignmentBook:
    """Args:
    model: of the rollout.
    nodes: by id.
    limit_s: how long a node's silence may last.
    defer_s: and how much longer where it puts its update off.
    """

    def __init__(
        self,
        model: str = "",
        nodes: Mapping[str, FleetNode] | None = None,
        limit_s: float = 0.0,
        defer_s: float = 0.0,
    ) -> None:
        self._model = model
        self._nodes = nodes if nodes is not None else {}
        self._limit_s = limit_s
        self._defer_s = defer_s
        self.held: dict[str, tuple[int, Assignment]] = {}  # generation of the document, and record; by node id
        self.standing: Counter[int] = Counter()  # by number of the wave: nodes that got their candidate and were not dropped
        self._by_state: dict[AssignmentState, dict[str, Assignment]] = {}
        self._by_answer: dict[NodeAnswer, dict[str, Assignment]] = {}
        self._answers: dict[str, NodeAnswer] = {}
        self._by_wave: dict[int, dict[str, None]] = {}
        self._going_back: dict[str, Assignment] = {}
        self._turns: list[tuple[int, str]] = []  # of PLANNED when it was sorted last
        self._turns_sorted = True
        self._first_turn = 0  # those before it are so no more
        self._silent_since: dict[str, float] = {}  # of awaited nodes that were handed their desired state
        self._silences: list[tuple[float, str]] = []  # a heap; entries that are not in `_silent_since` are old
        self.evidence = EvidencePool()
        self.put_off: set[int] = set()  # numbers of the waves in which a node put its update off
        self.unreached: dict[str, None] = {}  # awaited nodes that were not handed it yet

    def put(self, node_id: str, generation: int, a: Assignment | None) -> None:
        """Takes over one document; None: it is gone."""
        before = self.held.pop(node_id, None)
        if before is not None:
            self._take_out(node_id, before[1])
        if a is None:
            self.evidence.put(node_id, None)
            return
        self.held[node_id] = (generation, a)
        self._by_state.setdefault(a.state, {})[node_id] = a
        if a.wave:
            self._by_wave.setdefault(a.wave, {})[node_id] = None
            self.standing[a.wave] += a.state is not AssignmentState.DROPPED
        if a.goes_back:
            self._going_back[node_id] = a
        if a.state is AssignmentState.PLANNED:
            self._turns_sorted = False
        self.node_changed(node_id)

    def _take_out(self, node_id: str, a: Assignment) -> None:
        self._by_state[a.state].pop(node_id)
        self._going_back.pop(node_id, None)
        if a.wave:
            self._by_wave[a.wave].pop(node_id)
            self.standing[a.wave] -= a.state is not AssignmentState.DROPPED
        self._answer(node_id, a, None)

    def node_changed(self, node_id: str) -> None:
        """One of its documents, which the view holds already."""
        if (held := self.held.get(node_id)) is None:
            return
        a, node = held[1], self._nodes.get(node_id)
        self._answer(node_id, a, answer_of(a, node, self._model))
        if self._answers.get(node_id) is NodeAnswer.AWAITED and a.state is AssignmentState.TOLD:
            assert node is not None
            self._is_silent(a, node)
        self._note_evidence(a, node)
        if a.wave and node is not None and has_deferred(a, node, self._model):
            self.put_off.add(a.wave)

    def _note_evidence(self, a: Assignment, node: FleetNode | None) -> None:
        """What the node has shown of its candidate, which stays when the node has gone back. All of it is in documents, so that a
        coordinator that starts knows it, too."""
        if a.state in (AssignmentState.PLANNED, AssignmentState.DROPPED, AssignmentState.REFUSED):
            self.evidence.put(a.node_id, None)
            return
        report = node.report(self._model) if node is not None else None
        its = report.evidence if report is not None and report.desired_generation == a.generation else None
        if (given := its or a.evidence) is not None:
            self.evidence.put(a.node_id, given)

    def _answer(self, node_id: str, a: Assignment, answer: NodeAnswer | None) -> None:
        if (before := self._answers.pop(node_id, None)) is not None and before is not answer:
            del self._by_answer[before][node_id]
        if answer is not NodeAnswer.AWAITED:
            self._silent_since.pop(node_id, None)
            self.unreached.pop(node_id, None)
        if answer is not None:
            self._answers[node_id] = answer
            self._by_answer.setdefault(answer, {})[node_id] = a

    def _is_silent(self, a: Assignment, node: FleetNode) -> None:
        """A node that went and came back since it was handed it, as all do whose coordinator was started again, has its patience
        from then on. One that puts its update off, or did, has that time too."""
        since = heard_since(a, node, self._model)
        if since is None:
            self.unreached[node.id] = None
            return
        if has_deferred(a, node, self._model):
            since += self._defer_s
        self.unreached.pop(node.id, None)
        if node.presence is not None and node.presence.since > since:
            since = max(since, node.presence.gone_at - self._limit_s)
        if self._silent_since.get(node.id) == since:
            return
        self._silent_since[node.id] = since
        heappush(self._silences, (since, node.id))
        if len(self._silences) > 2 * len(self._silent_since) + 64:
            self._silences = [(at, id) for id, at in self._silent_since.items()]
            heapify(self._silences)

    # what a look asks

    def in_state(self, state: AssignmentState) -> Mapping[str, Assignment]:
        """By node id."""
        return self._by_state.get(state, _NONE)

    def answered(self, answer: NodeAnswer) -> Mapping[str, Assignment]:
        """Nodes with this answer, which their assignments do not hold yet; by node id."""
        return self._by_answer.get(answer, _NONE)

    def answer_of(self, node_id: str) -> NodeAnswer | None:
        return self._answers.get(node_id)

    @property
    def going_back(self) -> Mapping[str, Assignment]:
        """Nodes that go back where the rollout is stopped, and were not asked to yet; by node id."""
        return self._going_back

    def of_wave(self, number: int) -> list[str]:
        """Node ids."""
        return list(self._by_wave.get(number, ()))

    def turns(self) -> Iterator[Assignment]:
        """PLANNED, in order."""
        planned = self.in_state(AssignmentState.PLANNED)
        if not self._turns_sorted:
            self._turns = sorted({(a.order, node_id) for node_id, a in planned.items()})
            self._turns_sorted, self._first_turn = True, 0
        while self._first_turn < len(self._turns) and self._turns[self._first_turn][1] not in planned:
            self._first_turn += 1
        for number in range(self._first_turn, len(self._turns)):
            if (a := planned.get(self._turns[number][1])) is not None:
                yield a

    def first_silence(self) -> float | None:
        """Since when the one node is silent that is so the longest; None: no silence counts."""
        while self._silences and self._silent_since.get(self._silences[0][1]) != self._silences[0][0]:
            heappop(self._silences)
        return self._silences[0][0] if self._silences else None

    def silent_since(self, time: float) -> list[Assignment]:
        """Nodes without an answer since this time, or longer."""
        found = sorted((since, id) for id, since in self._silent_since.items() if since <= time)
        return [self.held[id][1] for _, id in found]
