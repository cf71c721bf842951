"""What is simulated: a fleet, what it serves, what goes out to it, and what happens to it. A TOML file; docs/simulate.md."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from littoral import decoder
from littoral.decoder import BadField
from littoral.errors import BadInput, NotFound
from littoral.maintenance import parse_window
from littoral_cloud.rollouts.commands import limits_of
from littoral_cloud.rollouts.gating import with_gates
from littoral_cloud.rollouts.state import RolloutPolicy, Unsure
from littoral_cloud.rollouts.waves import checked_sizes

MOST_NODES = 100_000
MOST_HOURS = 24.0 * 365
MOST_BYTES = 1 << 20
DAY_S = 86_400.0
Lie = Literal["failed", "succeeded"]
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGroup:
    """Nodes that are alike. What differs between them is drawn for each one."""

    name: str
    nodes: int
    hardware_class: str = "sim"
    awake: str = ""  # HH:MM-HH:MM in the node's time zone, switched off outside; "": always on
    awake_spread_s: float = 0.0  # each node's day begins and ends up to so much earlier or later
    time_zones: tuple[float, ...] = (0.0,)  # hours ahead of UTC; each node has one of them
    update_window: str = ""  # when it takes updates, in its time zone, as --update-window of the agent; "": at any time
    drops_per_day: float = 0.0  # times that its connection is lost, on average
    drop_lasts_s: float = 60.0  # on average
    down_kbit_s: float = 10_000.0
    up_kbit_s: float = 2_000.0
    link_spread: float = 1.0  # each link is faster or slower by up to this factor
    requests_per_s: float = 0.1
    failing: float = 0.0  # the share of requests that fail with any model
    labelled: int = 0  # examples of its own that it judges a new model with
    accuracy_spread: float = 0.0  # the standard deviation of a model's accuracy between nodes
    load_s: float = 2.0  # to verify and load a model
    liars: float = 0.0  # the share of nodes that report what is not so
    lie: Lie = "failed"

    def check_decoded(self) -> None:
        _bounds(self, ("nodes", 1, MOST_NODES), ("down_kbit_s", 0.1, 1e9), ("up_kbit_s", 0.1, 1e9), ("link_spread", 1, 1e6))
        _bounds(self, ("drops_per_day", 0, 10_000), ("drop_lasts_s", 1, 1e7), ("awake_spread_s", 0, DAY_S / 2))
        _bounds(self, ("requests_per_s", 0, 10_000), ("labelled", 0, 1_000_000), ("load_s", 0, 3_600))
        _bounds(self, *((name, 0, 1) for name in ("failing", "accuracy_spread", "liars")))
        if self.awake and self.awake_s == (0.0, 0.0):
            raise BadField("awake", f"{self.awake!r} is no time of the day", hint='from-to, like "06:00-22:30"')
        try:
            parse_window(self.update_window, "update_window")
        except BadInput as error:
            raise BadField("update_window", error.message.removeprefix("update_window: "), hint=error.hint) from error
        if self.update_window and any(zone % 1 for zone in self.time_zones):
            raise BadField("time_zones", f"{list(self.time_zones)}: with an update_window each is a whole hour")
        if not self.time_zones or not all(-14 <= zone <= 14 for zone in self.time_zones):
            raise BadField("time_zones", f"{list(self.time_zones)} must be hours from -14 to 14", hint="[0, 1, 5.5]")

    @property
    def awake_s(self) -> tuple[float, float]:
        """From and to, seconds of the day; from may be after to. (0, 0) where it is always on."""
        if (found := _HOURS.fullmatch(self.awake)) is None:
            return 0.0, 0.0
        hours = [int(part) for part in found.groups()]
        return hours[0] * 3600.0 + hours[1] * 60, hours[2] * 3600.0 + hours[3] * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedArtifact:
    """A student: what its manifest states of it, and what it does on nodes."""

    name: str
    bytes: int
    accuracy: float  # by its manifest
    field_accuracy: float | None = None  # on nodes; None: as the manifest states
    disagreement: float | None = None  # the share of inputs on which it or the model before is right, and not both
    failure_rate: float = 0.0  # the share of requests that fail with it
    load_fails: float = 0.0  # the share of nodes that cannot load it
    p95_ms: float = 2.0
    serving: bool = False  # every node serves it at the start
    bad: bool = False  # the rollout should be stopped

    def check_decoded(self) -> None:
        _bounds(self, ("bytes", 1, 1 << 40), ("accuracy", 0, 1), ("failure_rate", 0, 1), ("load_fails", 0, 1))
        _bounds(self, ("p95_ms", 0.001, 1e6))
        for name in ("field_accuracy", "disagreement"):
            if getattr(self, name) is not None:
                _bounds(self, (name, 0, 1))

    @property
    def on_nodes(self) -> float:
        """Its accuracy there."""
        return self.accuracy if self.field_accuracy is None else self.field_accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRollout:
    at_s: float
    artifacts: tuple[str, ...]  # names
    policy: RolloutPolicy = field(default_factory=RolloutPolicy)
    gates: tuple[str, ...] = ()  # NAME or NAME=LIMIT, as --gate of rollout start
    shadow_s: float | None = None  # as --shadow-s
    unsure: Unsure = Unsure.STOP
    large_first_wave: bool = False  # as --yes

    @property
    def asked(self) -> RolloutPolicy:
        """The policy with its gates, as `rollout start` makes it."""
        return with_gates(self.policy, self.gates, self.shadow_s, self.unsure)

    def check_decoded(self) -> None:
        _bounds(self, ("at_s", 0, MOST_HOURS * 3_600))
        for _, path, value, least, most, usual in limits_of(self.policy):
            if not least <= value <= most:
                raise BadField(
                    f"policy.{path}", f"{value:g} must lie between {least:g} and {most:g}", hint=f"for example {usual:g}"
                )
        try:
            _ = self.asked
        except BadInput as error:
            raise BadField("gates", error.message.removeprefix("--gate: "), hint=error.hint) from error
        try:
            checked_sizes(self.policy.wave_sizes, "wave_sizes")
        except BadInput as error:
            raise BadField("policy.wave_sizes", error.message.removeprefix("wave_sizes: "), hint=error.hint) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    at_s: float
    down_s: float = 10.0

    def check_decoded(self) -> None:
        _bounds(self, ("at_s", 0, MOST_HOURS * 3_600), ("down_s", 0.1, 7 * DAY_S))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Times count from the start, which is at `starts` of the first day, in UTC; seconds."""

    group: tuple[NodeGroup, ...]
    artifact: tuple[SimulatedArtifact, ...]
    rollout: tuple[PlannedRollout, ...]
    about: str = ""
    starts: str = "08:00"
    hours: float = 24.0  # at most; it ends when every rollout has ended and the fleet has settled
    heartbeat_s: float = 10.0
    restart: tuple[Restart, ...] = ()  # of the coordinator

    def check_decoded(self) -> None:
        _bounds(self, ("hours", 0.01, MOST_HOURS), ("heartbeat_s", 1, 3_600))
        if re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", self.starts) is None:
            raise BadField("starts", f"{self.starts!r} is no time of the day", hint="HH:MM, like 08:00")
        for name, tables in (("group", self.group), ("artifact", self.artifact), ("rollout", self.rollout)):
            if not tables:
                raise BadField(name, "there is none", hint=f"at least one [[{name}]]")
        for name, names in (("group", [g.name for g in self.group]), ("artifact", [a.name for a in self.artifact])):
            if (twice := _first_twice(names)) is not None:
                raise BadField(name, f"{twice!r} stands there twice", hint=f"each [[{name}]] has a name of its own")
        if self.nodes > MOST_NODES:
            raise BadField("group", f"{self.nodes} nodes in all", hint=f"at most {MOST_NODES:,}")
        if sum(artifact.serving for artifact in self.artifact) > 1:
            raise BadField("artifact", "more than one is served at the start", hint="serving = true for one of them")
        known = {artifact.name for artifact in self.artifact}
        for number, rollout in enumerate(self.rollout):
            for name in rollout.artifacts:
                if name not in known:
                    raise BadField(f"rollout[{number}].artifacts", f"{name!r} is no [[artifact]]", hint=", ".join(sorted(known)))
            if not rollout.artifacts:
                raise BadField(f"rollout[{number}].artifacts", "names none", hint=", ".join(sorted(known)))

    @property
    def nodes(self) -> int:
        return sum(group.nodes for group in self.group)

    @property
    def starts_s(self) -> float:
        """Of the day."""
        hours, minutes = self.starts.split(":")
        return int(hours) * 3600.0 + int(minutes) * 60.0


def read_scenario(path: Path) -> Scenario:
    """Raises NotFound; BadInput where it is no scenario, naming the file, the field, the value and what it may be."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"scenario: {path} has {path.stat().st_size:,} bytes", hint=f"at most {MOST_BYTES:,}")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"scenario: {path} does not exist", hint="docs/simulate.md shows one") from error
    except IsADirectoryError as error:
        raise BadInput(f"scenario: {path} is a folder", hint="name the TOML file in it; docs/simulate.md shows one") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"scenario: {path} is not text", hint="a TOML file in UTF-8; docs/simulate.md shows one") from error
    except OSError as error:
        raise BadInput(f"scenario: {path} cannot be read: {error.strerror}", hint="name a TOML file that you may read") from error
    return scenario_from(text, str(path))


def scenario_from(text: str, what: str) -> Scenario:
    """Args:
    what: how messages call it.

    Raises BadInput.
    """
    try:
        body: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{what}: is not TOML: {error}", hint="docs/simulate.md shows a scenario") from error
    for name in ("group", "artifact", "rollout", "restart"):
        if isinstance(body.get(name), dict):
            raise BadInput(f"{what}: scenario.{name}: is one table, it must be a list of them", hint=f"write [[{name}]]")
    return decoder.decode(Scenario, body, f"{what}: scenario")


def _bounds(record: Any, *limits: tuple[str, float, float]) -> None:
    """Raises BadField where a field is outside its limits; nan is."""
    for name, least, most in limits:
        value = getattr(record, name)
        if not least <= value <= most:
            raise BadField(name, f"{value:g} must lie between {least:g} and {most:g}")


def _first_twice(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
