"""Telemetry of the nodes whose sessions are here: reports are counted in memory, and written together, each node by itself.

Rules, in order:

1. A report is counted once: in the totals (littoral_cloud/fleet/telemetry) and in the drift of its inputs
   (littoral_cloud/fleet/drift). Both are written in one Change for each node, so that both have a window or neither has it.
2. A report is acknowledged after the write that holds it. The node repeats what was not acknowledged, so a coordinator that dies
   loses nothing.
3. The write comes at once for the first report of a model on a node, when drift begins or ends, when a baseline is full, and
   when a node waits for more than MOST_WAITING acknowledgements. Else it comes `flush_s` after the first report that waits.
4. A node that leaves is written, and forgotten. Where that fails, what was not written is dropped: the node has it still.
5. Documents are written with the generation that was read. After a Conflict (another coordinator had the node, or its baseline
   began anew) they are read again, and the reports that wait are counted again: those that are in them already are left out.
6. Only what somebody waits for is announced: the first write of a document, and the turns of rule 3.

Example: a node reports every 10 s, `flush_s` is 60. Reports 2 to 7 are counted in memory; then two documents are written, and one
acknowledgement of number 7 is sent. Killed after report 5, the next coordinator gets reports 2 to 5 again from the node.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Callable, Collection
from enum import Enum, auto

from littoral.errors import FleetError
from littoral_cloud.fleet import drift, telemetry
from littoral_cloud.fleet.allowance import NodeAllowance, commit
from littoral_cloud.fleet.edit import repeat_on_conflict
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.node_reports import Acknowledge, NodeReports
from littoral_cloud.fleet.records import Artifact, Desired, load
from littoral_cloud.fleet.telemetry import WindowReport, telemetry_id
from littoral_cloud.fleet.windows import MODELS, NodeModels, classes_of, with_its_classes

log = logging.getLogger(__name__)

FLUSH_S = 60.0
FLUSH_INTERVALS = 6
"""Intervals between a node's reports: no report waits for more of them."""
TOGETHER_S = 0.25
"""Nodes whose time comes within this are written in one group."""
AGAIN_S = 2.0


class Taken(Enum):
    COUNTED = auto()
    REPEATED = auto()
    OVER_THE_LIMIT = auto()  # one model too many


class TelemetryDesk:
    """Of one coordinator.

    Args:
        clock: seconds since 1970-01-01 UTC.
        flush_s: for how long a report waits at most before it is written; 0: each is written at once.
    """

    def __init__(
        self, ledger: Ledger, clock: Callable[[], float], *, flush_s: float = FLUSH_S, policy: drift.DriftPolicy | None = None
    ) -> None:
        self.taken: Counter[Taken] = Counter()
        self.lines: Counter[str] = Counter()
        """That were written to the audit trail, by action."""
        self._ledger = ledger
        self._clock = clock
        self._flush_s = flush_s
        self._policy = policy or drift.DriftPolicy()
        self._nodes: dict[str, NodeReports] = {}
        self._due: dict[str, float] = {}  # by node; by the event loop's clock
        self._queue: list[tuple[float, str]] = []  # a heap of `_due`, and of what was due and is written
        self._left: set[str] = set()
        self._woken = asyncio.Event()
        self._classes: dict[str, int] = {}  # of artifacts, by manifest digest

    async def take(
        self,
        node_id: str,
        report: WindowReport,
        acknowledge: Acknowledge,
        allowance: NodeAllowance | None = None,
        again: Callable[[], WindowReport] | None = None,
    ) -> Taken:
        """Counts a report once, and acknowledges it when it is stored.

        Args:
            allowance: how many lines of the audit trail the node may have for it; None: all.
            again: reads the report again from something smaller, which stays in memory until it is written; None: from itself.

        Raises:
            BadInput: it counts classes that its model does not have, or its number jumps.
            Unavailable: asking again is safe.
        """
        node = self._nodes.setdefault(node_id, NodeReports(node_id))
        self._left.discard(node_id)
        async with node.lock:
            taken = await self._count(node, report, again or (lambda: report))
            node.heard(acknowledge, report)
            node.allowance = allowance
            if not node.unwritten:
                node.nothing_waits()
            elif self._flush_s <= 0 or node.urgent:
                await self._write(node)
            elif node_id not in self._due:
                self._write_in(node_id, self._flush_s)
        self.taken[taken] += 1
        return taken

    async def write(self, node_id: str) -> None:
        """What waits of a node. Raises FleetError."""
        if (node := self._nodes.get(node_id)) is not None:
            async with node.lock:
                await self._write(node)

    def leave(self, node_id: str) -> None:
        """Its last session has ended."""
        if node_id in self._nodes:
            self._left.add(node_id)
            self._woken.set()

    async def run(self) -> None:
        """Writes what is due, until it is cancelled."""
        while True:
            self._woken.clear()
            if ready := self._ready():
                await asyncio.gather(*(self._flush(node_id) for node_id in ready))
                continue
            try:
                async with asyncio.timeout_at(self._queue[0][0] if self._queue else None):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def write_all(self) -> None:
        """At the coordinator's end."""
        await asyncio.gather(*(self._flush(node_id) for node_id in tuple(self._nodes)))

    def _write_in(self, node_id: str, seconds: float) -> None:
        due = self._due[node_id] = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._queue, (due, node_id))
        if self._queue[0] == (due, node_id):
            self._woken.set()

    def _ready(self) -> set[str]:
        now = asyncio.get_running_loop().time()
        ready = set(self._left)
        together = TOGETHER_S if ready or (self._queue and self._queue[0][0] <= now) else 0.0
        while self._queue and self._queue[0][0] <= now + together:
            due, node_id = heapq.heappop(self._queue)
            if self._due.get(node_id) == due:
                ready.add(node_id)
        return ready

    async def _flush(self, node_id: str) -> None:
        try:
            await self.write(node_id)
        except FleetError as error:
            log.warning("telemetry of %s is not written: %s", node_id, error.message)
            self._write_in(node_id, AGAIN_S)
        if node_id in self._left:
            self._left.discard(node_id)
            self._due.pop(node_id, None)
            self._nodes.pop(node_id, None)

    # -- one node: call with its lock --------------------------------------------------------------------------------

    async def _count(self, node: NodeReports, report: WindowReport, again: Callable[[], WindowReport]) -> Taken:
        if report.model not in node.models:
            await self._read(node, [report.model])
        model = node.models[report.model]
        try:
            if not node.may_enter(model):
                return Taken.OVER_THE_LIMIT
            classes = await self._classes_of(report)
            report = with_its_classes(report, classes)
            new = model.totals is None
            if not model.count(report, self._clock(), self._policy, again, classes):
                return Taken.REPEATED
            if new:
                node.enter(model.name)
            return Taken.COUNTED
        finally:
            if model.totals is None:  # nothing was counted
                node.models.pop(report.model, None)

    async def _classes_of(self, report: WindowReport) -> int | None:
        """None where the artifact is not known."""
        digest = report.manifest_digest
        if not report.class_counts or not digest:
            return None
        if digest not in self._classes and (doc := await self._ledger.get("artifact", digest)) is not None:
            self._classes[digest] = classes_of(load(Artifact, doc))
        return self._classes.get(digest)

    async def _read(self, node: NodeReports, names: Collection[str]) -> None:
        """What is stored of these models; reports that wait are counted again."""
        wanted = [(MODELS, node.node_id), ("desired", node.node_id)]
        ids = [telemetry_id(node.node_id, name) for name in names]
        wanted += [(kind, id) for id in ids for kind in (telemetry.KIND, drift.KIND)]
        known, desired, *docs = await self._ledger.get_many(wanted)
        models = frozenset(load(Desired, desired).models) if desired else frozenset()
        node.begin(load(NodeModels, known) if known else NodeModels(), known.generation if known else 0, models)
        for name, totals, inputs in zip(names, docs[::2], docs[1::2], strict=True):
            node.begin_model(name, totals, inputs, self._policy)

    async def _write(self, node: NodeReports) -> None:
        """Raises Conflict after many of them, Unavailable."""
        tried = False

        async def attempt() -> None:
            nonlocal tried
            if tried:
                await self._read(node, tuple(node.models))
            tried = True
            if writes := node.writes():
                lines = node.lines(self._policy)
                node.stored(await commit(self._ledger, writes, lines, node.allowance))
                self.lines.update(line.action for line in lines)

        await repeat_on_conflict(attempt)
        self._due.pop(node.node_id, None)
        node.nothing_waits()
