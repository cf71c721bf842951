"""The nodes of a scenario, each drawn from its group. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from littoral_cloud.simulate.scenario import DAY_S, Lie, NodeGroup, Scenario


@dataclass(frozen=True, slots=True)
class NodeTraits:
    """What one node is, for as long as it is simulated."""

    node_id: str
    name: str
    group: NodeGroup
    zone_s: float  # ahead of UTC
    shift_s: float  # its day begins and ends so much later
    down_bytes_s: float
    up_bytes_s: float
    accuracy_shift: float  # of every model on its data
    lie: Lie | None

    @property
    def zone_name(self) -> str:
        """In the time zone database, where the sign is the other way round; "": UTC."""
        hours = round(self.zone_s / 3_600)
        return f"Etc/GMT{-hours:+d}" if hours and self.group.update_window else ""

    def until_awake_s(self, now: float) -> float:
        """Seconds until it is switched on; 0: it is on. `now`: since 1970-01-01 UTC."""
        if not self.group.awake:
            return 0.0
        begins, ends = self.group.awake_s
        since = (now + self.zone_s - self.shift_s - begins) % DAY_S
        return 0.0 if since < (ends - begins) % DAY_S else DAY_S - since

    def until_asleep_s(self, now: float) -> float | None:
        """Seconds until it is switched off, of a node that is on; None: it never is."""
        if not self.group.awake:
            return None
        begins, ends = self.group.awake_s
        return (ends - begins) % DAY_S - (now + self.zone_s - self.shift_s - begins) % DAY_S


def population(scenario: Scenario, rng: random.Random) -> Iterator[NodeTraits]:
    """Groups in the scenario's order. Ids are drawn, so that their order says nothing of the group."""
    for group in scenario.group:
        for number in range(group.nodes):
            fast = group.link_spread ** rng.uniform(-1.0, 1.0)
            yield NodeTraits(
                node_id=f"{rng.getrandbits(64):016x}",
                name=f"{group.name}-{number}",
                group=group,
                zone_s=rng.choice(group.time_zones) * 3_600.0,
                shift_s=rng.uniform(-1.0, 1.0) * group.awake_spread_s,
                down_bytes_s=group.down_kbit_s * 125.0 * fast,
                up_bytes_s=group.up_kbit_s * 125.0 * fast,
                accuracy_shift=rng.gauss(0.0, group.accuracy_spread),
                lie=group.lie if rng.random() < group.liars else None,
            )
