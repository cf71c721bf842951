"""One node as rollouts see it, joined from its documents."""

from __future__ import annotations

from dataclasses import dataclass, field

from littoral_cloud.fleet.handed import Handed
from littoral_cloud.fleet.presence import There, there
from littoral_cloud.fleet.quarantine import Quarantine
from littoral_cloud.fleet.records import Desired, DesiredModel, Node, Presence, Reported, ReportedModel


@dataclass(frozen=True, slots=True)
class FleetNode:
    node: Node
    presence: Presence | None = None
    desired: Desired = field(default_factory=Desired)
    desired_generation: int = 0  # of the document; 0: nothing was ever wanted of it
    reported: Reported | None = None
    handed: Handed | None = None
    quarantine: Quarantine | None = None

    @property
    def id(self) -> str:
        return self.node.node_id

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def connected(self) -> bool:
        return self.presence is not None and self.presence.connected

    def there(self, now: float) -> There:
        return there(self.presence, now)

    def wanted(self, model: str) -> DesiredModel | None:
        return self.desired.models.get(model)

    def report(self, model: str) -> ReportedModel | None:
        return self.reported.models.get(model) if self.reported else None

    def serving(self, model: str) -> str:
        """Manifest that answers requests, by the node's last report; "": none."""
        report = self.report(model)
        return report.serving if report else ""
