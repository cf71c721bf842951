"""What one node reported and what is counted of it, in memory: telemetry_desk.py reads and writes the documents.

Everything that waits is written together, because an acknowledgement covers every report of its boot before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from littoral.errors import BadInput
from littoral_cloud.fleet import drift, telemetry
from littoral_cloud.fleet.allowance import NodeAllowance
from littoral_cloud.fleet.ledger import Audit, Doc, Write
from littoral_cloud.fleet.records import dump, load
from littoral_cloud.fleet.telemetry import TelemetryTotals, WindowReport, telemetry_id
from littoral_cloud.fleet.windows import MODELS, NodeModels, with_its_classes, with_model

log = logging.getLogger(__name__)

MOST_WAITING = 16
"""Reports of one node: it sends no more than 32 that are not acknowledged."""
MOST_CELLS = 20_000
"""Counts in the reports of one node that wait: reports that are large are written sooner."""

Acknowledge = Callable[[str, int], None]
"""Called with boot id and sequence: every report of that boot up to there is stored."""


@dataclass(frozen=True, slots=True)
class UnwrittenReport:
    """A report that is counted and not written: how to read it again, in case another coordinator wrote meanwhile.

    Args:
        read: gives the report as it came.
        classes: of its model; None: not known here.
        cells: counts in it.
        at: when it came, seconds since 1970-01-01 UTC.
    """

    read: Callable[[], WindowReport]
    classes: int | None
    cells: int
    at: float

    def report(self) -> WindowReport:
        return with_its_classes(self.read(), self.classes)


@dataclass(slots=True)
class ModelReports:
    """One model on one node: what is counted, and the reports in it that are not written."""

    name: str
    totals: TelemetryTotals | None = None
    inputs: drift.Inputs | None = None
    totals_generation: int = 0  # of what is stored; 0: nothing is
    inputs_generation: int = 0
    was_drifted: bool = False  # as it is stored
    was_full: bool = False
    counted_inputs: bool = False  # since it was stored
    waiting: list[UnwrittenReport] = field(default_factory=list)

    def begin(self, totals: Doc | None, inputs: Doc | None) -> None:
        """From what is stored."""
        self.totals = load(TelemetryTotals, totals) if totals else None
        self.inputs = load(drift.Inputs, inputs) if inputs else None
        self.totals_generation, self.inputs_generation = totals.generation if totals else 0, inputs.generation if inputs else 0
        self._is_stored()

    def stored(self, node_id: str, generations: Mapping[tuple[str, str], int]) -> None:
        """What was counted is written."""
        id = telemetry_id(node_id, self.name)
        self.totals_generation = generations.get((telemetry.KIND, id), self.totals_generation)
        self.inputs_generation = generations.get((drift.KIND, id), self.inputs_generation)
        self._is_stored()

    def _is_stored(self) -> None:
        self.was_drifted = self.inputs is not None and self.inputs.drifted
        self.was_full = self.inputs is not None and self.inputs.baseline_full
        self.counted_inputs = False
        self.waiting = []

    @property
    def turned(self) -> bool:
        """Whether drift began or ended, or a baseline became full, since it was stored."""
        inputs = self.inputs
        return inputs is not None and (inputs.drifted, inputs.baseline_full) != (self.was_drifted, self.was_full)

    @property
    def urgent(self) -> bool:
        return bool(self.waiting) and (self.turned or not self.totals_generation)

    def count(
        self,
        report: WindowReport,
        now: float,
        policy: drift.DriftPolicy,
        read: Callable[[], WindowReport],
        classes: int | None = None,
    ) -> bool:
        """False where it is counted already. Raises BadInput. `read`, `classes`: see UnwrittenReport."""
        after = telemetry.fold(self.totals, report, now)
        if after is None:
            return False
        self.totals = after
        if (inputs := drift.counted_in(self.inputs, report, now, policy)) is not None:
            self.inputs, self.counted_inputs = inputs, True
        self.waiting.append(UnwrittenReport(read, classes, _cells(report), now))
        return True

    def writes(self, node_id: str) -> list[Write]:
        """Announced where somebody waits for it: the first time, and where it turned."""
        assert self.totals is not None
        id, generation = telemetry_id(node_id, self.name), self.totals_generation
        writes = [Write(telemetry.KIND, id, dump(self.totals), generation, quiet=bool(generation))]
        if self.inputs is not None and self.counted_inputs:
            quiet = bool(self.inputs_generation) and not self.turned
            writes.append(Write(drift.KIND, id, dump(self.inputs), self.inputs_generation, quiet=quiet))
        return writes

    def lines(self, node_id: str, policy: drift.DriftPolicy) -> tuple[Audit, ...]:
        id = drift.inputs_id(node_id, self.name)
        return drift.lines(id, self.was_drifted, self.inputs, policy) if self.inputs is not None else ()


@dataclass(slots=True)
class NodeReports:
    """Of one node whose session is here. Take the `lock` before a change."""

    node_id: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    models: dict[str, ModelReports] = field(default_factory=dict)
    known: NodeModels = field(default_factory=NodeModels)
    known_generation: int = 0
    known_written: bool = True
    wanted: Collection[str] = ()  # models that were desired when it was looked up last
    acknowledge: dict[tuple[Acknowledge, str], int] = field(default_factory=dict)  # by session and boot: after the next write
    allowance: NodeAllowance | None = None

    def begin(self, known: NodeModels, generation: int, wanted: Collection[str]) -> None:
        """From what is stored; models that are not written yet are entered again."""
        self.known, self.known_generation, self.known_written, self.wanted = known, generation, True, wanted
        for model in self.models.values():
            if model.waiting and not model.totals_generation:
                self.enter(model.name)

    def may_enter(self, model: ModelReports) -> bool:
        """False where it is one model too many."""
        return model.totals is not None or with_model(self.known, model.name, self.wanted) is not None

    def enter(self, model: str) -> None:
        """A model that the node reports for the first time."""
        if (known := with_model(self.known, model, self.wanted)) is not None and known != self.known:
            self.known, self.known_written = known, False

    def begin_model(self, name: str, totals: Doc | None, inputs: Doc | None, policy: drift.DriftPolicy) -> None:
        """From what is stored; its reports that wait are counted again, unless they are in it already."""
        model = self.models.setdefault(name, ModelReports(name))
        waiting = model.waiting
        model.begin(totals, inputs)
        if waiting and not self.may_enter(model):
            del self.models[name]
            return
        for each in waiting:
            try:
                model.count(each.report(), each.at, policy, each.read, each.classes)
            except BadInput as error:
                log.warning("telemetry of %s: left out: %s", self.node_id, error.message)
        if model.waiting and not model.totals_generation:
            self.enter(name)

    @property
    def unwritten(self) -> list[ModelReports]:
        return [model for model in self.models.values() if model.waiting]

    @property
    def urgent(self) -> bool:
        """Whether it is written at once."""
        waiting = [each for model in self.models.values() for each in model.waiting]
        many = len(waiting) > MOST_WAITING or sum(each.cells for each in waiting) > MOST_CELLS
        return many or any(model.urgent for model in self.models.values())

    def heard(self, acknowledge: Acknowledge, report: WindowReport) -> None:
        """Of this report the node waits for an acknowledgement."""
        last = self.acknowledge.get((acknowledge, report.boot_id), 0)
        self.acknowledge[acknowledge, report.boot_id] = max(last, report.sequence)

    def writes(self) -> tuple[Write, ...]:
        writes = [write for model in self.unwritten for write in model.writes(self.node_id)]
        if not self.known_written:
            writes.append(Write(MODELS, self.node_id, dump(self.known), self.known_generation, quiet=True))
        return tuple(writes)

    def lines(self, policy: drift.DriftPolicy) -> list[Audit]:
        return [line for model in self.unwritten for line in model.lines(self.node_id, policy)]

    def stored(self, generations: Mapping[tuple[str, str], int]) -> None:
        """What `writes` gave was written."""
        for model in self.unwritten:
            model.stored(self.node_id, generations)
        self.known_generation = generations.get((MODELS, self.node_id), self.known_generation)
        self.known_written = True

    def nothing_waits(self) -> None:
        """The node may forget what it sent."""
        waiting, self.acknowledge = self.acknowledge, {}
        for (acknowledge, boot_id), sequence in waiting.items():
            acknowledge(boot_id, sequence)


def _cells(report: WindowReport) -> int:
    inputs = report.inputs.counts.size if report.inputs is not None else 0
    return len(report.class_counts) + len(report.latency_counts) + inputs
