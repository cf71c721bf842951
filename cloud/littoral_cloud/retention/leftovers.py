"""Which measurements, telemetry and other documents of nodes are of no use any more. Pure.

Rules:

1. Everything of a node that is out of the fleet goes, but for its name. `decommission` deletes it at once
   (littoral_cloud.fleet.nodes); this is what words that came later left behind.
2. A measurement goes whose artifact no release names and no node is to serve, to measure, or serves.
3. Telemetry and inputs go of a model that its node is not to serve and does not report.
4. Rules 2 and 3 touch nothing from the last day: a release may be on its way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from littoral_cloud.fleet.drift import node_and_model
from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.fleet.measurements import MeasurementRecord
from littoral_cloud.fleet.membership import OUT_FOR_EVER
from littoral_cloud.fleet.records import Desired, Node, Release, Reported, models_on

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class NodesView:
    """All that is decided on: by node id, and releases by release id."""

    nodes: Mapping[str, Node]
    desired: Mapping[str, Desired]
    reported: Mapping[str, Reported]
    releases: Mapping[str, Release]

    def is_out(self, node_id: str) -> bool:
        """One that is not known is new here, and not out."""
        return (node := self.nodes.get(node_id)) is not None and node.enrolment in OUT_FOR_EVER

    def has(self, node_id: str, model: str) -> bool:
        """Whether the model is on the node, or is to be."""
        reported = self.reported.get(node_id)
        return model in models_on(self.desired.get(node_id, Desired()), reported) or bool(reported and model in reported.models)

    def artifacts_in_use(self) -> frozenset[str]:
        """Manifest digests."""
        return frozenset(self._artifacts())

    def _artifacts(self) -> Iterator[str]:
        for release in self.releases.values():
            yield from release.artifacts
        for desired in self.desired.values():
            yield from (model.manifest_digest for model in desired.models.values())
            yield from desired.benchmarks
        for reported in self.reported.values():
            for on_it in reported.models.values():
                yield from (on_it.target, on_it.serving, on_it.previous)


def old_measurements(measurements: Mapping[str, MeasurementRecord], seen: NodesView, now: float) -> Iterator[str]:
    """Ids."""
    in_use = seen.artifacts_in_use()
    for id, record in measurements.items():
        unused = record.manifest_digest not in in_use and record.measured_at < now - DAY_S
        if unused or seen.is_out(record.node_id):
            yield id


def of_nodes_that_are_out(ids: Collection[str], seen: NodesView) -> Iterator[str]:
    """Of a kind with one document for each node."""
    return (id for id in ids if seen.is_out(id))


def of_models_that_are_gone(docs: Iterable[Doc], last_at: str, seen: NodesView, now: float) -> Iterator[Doc]:
    """Of a kind with one document for each model on a node. `last_at`: its field with the time of the last report."""
    for doc in docs:
        node_id, model = node_and_model(doc.id)
        at = doc.body.get(last_at)
        old = isinstance(at, int | float) and at < now - DAY_S
        if seen.is_out(node_id) or (old and node_id in seen.nodes and not seen.has(node_id, model)):
            yield doc
