"""What a rollout is started with, as the API documents it and `littoral-cloud rollout start` fills it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from littoral.errors import BadInput, NotFound
from littoral_cloud.app import Core
from littoral_cloud.commands.scopes import narrowed
from littoral_cloud.fleet.cohorts import read_cohort, written
from littoral_cloud.fleet.nodes import find_node
from littoral_cloud.fleet.records import Probation
from littoral_cloud.rollouts.gating import with_gates
from littoral_cloud.rollouts.state import RolloutPolicy, Unsure, WaveSize
from littoral_cloud.rollouts.waves import checked_sizes
from littoral_cloud.trust.people import Caller

_USUAL = RolloutPolicy()
LONGEST_AHEAD_S = 366 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRequest:
    """Only `release` is needed. Times are seconds, `not_before` since 1970-01-01 UTC; accuracies are fractions.

    Attributes:
        canary: name or id of the first node; empty: a node with labelled examples.
        nodes: names or ids; empty: every eligible node.
        where: a filter such as "site=harbour,class=CLASS,version=0.1.0,name=cam-*"; `cohort`: a saved one, in its place.
        waves: the first waves: a number of nodes, or the percent of nodes that have the release afterwards. Then all others.
        most_nodes: of one wave; a larger one is divided.
        probation_s: on each node; null: as the coordinator is set.
        probation_max_drop: how much accuracy a node's labelled examples may lose in probation.
        max_drop_vs_served: how much accuracy a node may lose against the served model, by the manifests.
        window: when nodes are updated, by their own clocks, such as "Mon-Fri 01:00-05:00", or "always"; empty: their own windows.
        defer_s: for how long a node may put its update off.
        max_silent: the part of the nodes that may fall silent in their wave.
        gates: that each wave must pass, each "p95", or "p95=1.2" with its limit.
        unsure: what follows where a gate needs more evidence when the wave's time is over.
        shadow_s: with the gate "shadow": how long it runs beside the served model; null: the usual time.
        approval: it waits for another person.
        large_first_wave: also where the first wave has more than a fifth of the nodes.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    release: str
    canary: str = ""
    nodes: tuple[str, ...] = ()
    where: str = ""
    cohort: str = ""
    waves: tuple[WaveSize, ...] = _USUAL.wave_sizes
    most_nodes: int = _USUAL.most_nodes
    probation_s: float | None = None
    probation_max_drop: float = _USUAL.probation.max_accuracy_drop
    max_drop_vs_served: float = _USUAL.max_accuracy_loss
    allow_interface_change: bool = False
    not_before: float = 0.0
    window: str = ""
    defer_s: float = _USUAL.defer_s
    max_silent: float = _USUAL.max_silent
    gates: tuple[str, ...] = ()
    unsure: Unsure = _USUAL.unsure
    shadow_s: float | None = None
    approval: bool = False
    large_first_wave: bool = False


async def policy_of(core: Core, caller: Caller, request: RolloutRequest) -> RolloutPolicy:
    """For nodes of the caller's scope alone. Raises BadInput, NotFound, Denied, naming the field."""
    if request.where and request.cohort:
        raise BadInput("cohort: give it or a filter, not both", hint="littoral-cloud cohort show has a cohort's filter")
    if not request.not_before <= core.clock() + LONGEST_AHEAD_S:  # nan is refused, too
        raise BadInput("not_before: is more than a year ahead", hint="seconds since 1970-01-01 UTC")
    where = (await read_cohort(core.ledger, request.cohort)).where if request.cohort else request.where
    policy = RolloutPolicy(
        canary=await _named(core, caller, "--canary", request.canary) if request.canary else "",
        nodes=tuple([await _named(core, caller, "--nodes", name) for name in request.nodes]),
        where=narrowed(caller, where) if caller.scope.labels else written(where),
        wave_sizes=checked_sizes(request.waves, "waves"),
        most_nodes=request.most_nodes,
        probation=Probation(
            duration_s=core.settings.probation_s if request.probation_s is None else request.probation_s,
            max_accuracy_drop=request.probation_max_drop,
        ),
        max_accuracy_loss=request.max_drop_vs_served,
        allow_interface_change=request.allow_interface_change,
        not_before=request.not_before,
        approval=request.approval,
        window=request.window,
        defer_s=request.defer_s,
        max_silent=request.max_silent,
    )
    return with_gates(policy, request.gates, request.shadow_s, request.unsure)


async def _named(core: Core, caller: Caller, option: str, name: str) -> str:
    """The node's id. Raises NotFound or BadInput, naming the option; Denied."""
    try:
        node = await find_node(core.ledger, name)
    except (NotFound, BadInput) as error:
        raise type(error)(f"{option}: {error.message.removeprefix('node: ')}", hint=error.hint) from error
    caller.needs_node(node.name, node.labels)
    return node.node_id
