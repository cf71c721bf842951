"""What nodes measured of candidates: kind "measurement", one record for a manifest on a node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from littoral.measurement import MeasurementResult


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementRecord(MeasurementResult):
    manifest_digest: str
    node_id: str
    hardware_class: str
    measured_at: float = 0.0
    schema: int = 1


def measurement_id(manifest_digest: str, node_id: str) -> str:
    return f"{manifest_digest}@{node_id}"


def node_of(measurement_id: str) -> str:
    return measurement_id.rpartition("@")[2]


class MeasurementIndex:
    """Measurements by node and by hardware class. A look-up takes the same time however many there are.

    It changes in place: who follows the ledger calls `put` and `remove`, deciders only look up.
    """

    def __init__(self, records: Iterable[MeasurementRecord] = ()) -> None:
        self._of_node: dict[tuple[str, str], MeasurementRecord] = {}  # by manifest digest and node id
        self._successes: dict[tuple[str, str], dict[str, MeasurementRecord]] = {}  # by digest and class, then by node id
        self._latest: dict[tuple[str, str], MeasurementRecord] = {}  # of `_successes`
        self._failures: dict[tuple[str, str], set[str]] = {}  # by digest and class: node ids
        self.version = 0  # grows with each change
        for record in records:
            self.put(record)

    def __iter__(self) -> Iterator[MeasurementRecord]:
        return iter(self._of_node.values())

    def __len__(self) -> int:
        return len(self._of_node)

    def of_node(self, manifest_digest: str, node_id: str) -> MeasurementRecord | None:
        """What this node measured; a failure too."""
        return self._of_node.get((manifest_digest, node_id))

    def of_class(self, manifest_digest: str, hardware_class: str) -> MeasurementRecord | None:
        """The latest success on a machine of this class. None: there is none, or the class is not known ("")."""
        return self._latest.get((manifest_digest, hardware_class))

    def failures_in(self, manifest_digest: str, hardware_class: str) -> int:
        """On how many machines of this class it could not run; 0 for a class that is not known ("")."""
        return len(self._failures.get((manifest_digest, hardware_class), ()))

    def put(self, record: MeasurementRecord) -> None:
        """Takes the place of what the node measured of this manifest before."""
        self.version += 1
        node = record.manifest_digest, record.node_id
        if (before := self._of_node.get(node)) is not None:
            self._forget(before)
        self._of_node[node] = record
        alike = record.manifest_digest, record.hardware_class
        if not record.hardware_class:
            return
        if record.failure:
            self._failures.setdefault(alike, set()).add(record.node_id)
            return
        self._successes.setdefault(alike, {})[record.node_id] = record
        if (latest := self._latest.get(alike)) is None or _order(record) > _order(latest):
            self._latest[alike] = record

    def remove(self, measurement_id: str) -> None:
        """Nothing happens where there is no such measurement."""
        digest, _, node_id = measurement_id.rpartition("@")
        if (record := self._of_node.pop((digest, node_id), None)) is not None:
            self.version += 1
            self._forget(record)

    def _forget(self, record: MeasurementRecord) -> None:
        alike = record.manifest_digest, record.hardware_class
        if failed := self._failures.get(alike):
            failed.discard(record.node_id)
        successes = self._successes.get(alike, {})
        if successes.pop(record.node_id, None) is None:
            return  # it was a failure, or of no known class
        if not successes:
            del self._successes[alike], self._latest[alike]
        elif self._latest[alike] is record:
            self._latest[alike] = max(successes.values(), key=_order)


def _order(record: MeasurementRecord) -> tuple[float, str]:
    return record.measured_at, record.node_id
