"""Use case of the overview: is the fleet well, what is rolling out, what is learning, what needs somebody.

What it counts stands in the view of the fleet, so that it costs one walk over the nodes, and no reading. A caller with a scope
sees its own nodes and models alone.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from littoral.validity import expires_soon
from littoral_cloud.commands.needs import Need, approvals, needs_of_rollouts, needs_of_runs
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.commands.viewing import records_of
from littoral_cloud.federation.evaluation import BEFORE
from littoral_cloud.federation.run import Run
from littoral_cloud.fleet.drift_seen import KIND as INPUTS
from littoral_cloud.fleet.drift_seen import DriftSeen
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.profile import PRESENCE
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.fleet.quarantine import NodeTrouble
from littoral_cloud.fleet.records import Enrolment, Node, Presence
from littoral_cloud.health.fleet_counts import CLONED, state_of
from littoral_cloud.rollouts.state import ENDED, Rollout
from littoral_cloud.rollouts.wording import first_of
from littoral_cloud.terminal.text import counted, when
from littoral_cloud.trust.operator_tokens import list_operator_tokens
from littoral_cloud.trust.people import Caller, Role
from littoral_cloud.webhooks.records import read_webhooks

LEAST_FREE = 0.1
TOKEN_SOON_S = 7 * 86_400.0
MOST_LISTED = 20
_OUT = frozenset({Enrolment.DECOMMISSIONED, Enrolment.REJECTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutGlance:
    id: str
    release: str
    model: str
    state: str
    wave: int
    waves: int
    nodes: int
    asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunGlance:
    """`accuracy`: on the nodes' own examples, before each finished round, where they measured it."""

    id: str
    model: str
    state: str
    round: int
    rounds: int
    participants: int
    accuracy: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewShown:
    """`nodes`: of the fleet. `states`: those, and the ones that wait or were revoked. `out`: that are out for good, by state."""

    nodes: int
    states: Mapping[str, int]
    quarantined: int
    rollouts: tuple[RolloutGlance, ...]
    runs: tuple[RunGlance, ...]
    needs: tuple[Need, ...]
    out: Mapping[str, int]


@use_case("overview.show", Role.VIEWER)
async def show(office: Office, caller: Caller) -> OverviewShown:
    """Whether the fleet is well, what is rolling out, what is learning, and what needs somebody."""
    now = office.core.clock()
    nodes, presences, troubles = await _of_nodes(office)
    mine = [node for node in nodes.values() if caller.scope.has_node(node.labels)]
    states = {node.node_id: state_of(node, presences.get(node.node_id), now) for node in mine if node.enrolment not in _OUT}
    left_out = [id for id in states if (trouble := troubles.get(id)) is not None and trouble.quarantine is not None]
    rollouts = [
        (id, each) for id, each in (await records_of(office, "rollout", Rollout)).items() if caller.scope.has_model(each.model)
    ]
    runs = [each for _, each in (await records_of(office, "run", Run)).items() if caller.scope.has_model(each.model)]
    needs = [
        *_of_states(states, nodes),
        *_of_certificates((nodes[id] for id in states), now),
        *_of_quarantine(left_out, nodes),
        *_of_drift(await records_of(office, INPUTS, DriftSeen), states, nodes, loops=office.core.settings.auto_loop),
        *needs_of_rollouts(rollouts, now),
        *needs_of_runs(runs, now),
        *(await _of_coordinator(office, caller, now)),
    ]
    order = ("bad", "warn", "wait")
    needs.sort(key=lambda need: order.index(need.severity))
    needs = [*approvals(rollouts, caller.name), *needs]
    live = sorted(((id, each) for id, each in rollouts if each.state not in ENDED), key=lambda each: -each[1].created_at)
    learning = sorted((each for each in runs if not each.state.terminal), key=lambda each: -each.created_at)
    return OverviewShown(
        nodes=sum(nodes[id].enrolment is Enrolment.ACCEPTED for id in states),
        states=dict(Counter(states.values()).most_common()),
        quarantined=len(left_out),
        rollouts=tuple(_rollout(id, each) for id, each in live[:MOST_LISTED]),
        runs=tuple(_run(each) for each in learning[:MOST_LISTED]),
        needs=tuple(needs[:MOST_LISTED]),
        out=dict(Counter(node.enrolment.value for node in mine if node.enrolment in _OUT)),
    )


async def _of_nodes(office: Office) -> tuple[Mapping[str, Node], Mapping[str, Presence], Mapping[str, NodeTrouble]]:
    nodes, presences = await records_of(office, "node", Node), await records_of(office, PRESENCE, Presence)
    return nodes, presences, await records_of(office, TROUBLE, NodeTrouble)


def _names(ids: Iterable[str], nodes: Mapping[str, Node]) -> str:
    return ", ".join(first_of(sorted(nodes[id].name for id in ids)))


def _of_states(states: Mapping[str, str], nodes: Mapping[str, Node]) -> Iterator[Need]:
    by_state: dict[str, list[str]] = {}
    for id, state in states.items():
        by_state.setdefault(state, []).append(id)
    for state, severity, words in (
        (CLONED, "bad", "one identity, two machines: copied disks"),
        (Enrolment.PENDING.value, "wait", "ask to be let in"),
    ):
        if ids := by_state.get(state):
            id = ids[0] if len(ids) == 1 else ""
            yield Need(
                severity=severity,
                words=f"{counted(len(ids), 'node')}: {words}: {_names(ids, nodes)}",
                of="node",
                id=id,
                state=state,
            )


def _of_certificates(nodes: Iterable[Node], now: float) -> Iterator[Need]:
    soon = [
        node
        for node in nodes
        if node.enrolment is Enrolment.ACCEPTED
        and expires_soon(max(node.renewed_at, node.enrolled_at), node.certificate_expires_at, now)
    ]
    if soon:
        over = sum(node.certificate_expires_at <= now for node in soon)
        what = f"certificates of {counted(len(soon), 'node')} should have been renewed" + (
            f", {over} have expired" if over else ""
        )
        names = ", ".join(first_of(sorted(node.name for node in soon)))
        id = soon[0].node_id if len(soon) == 1 else ""
        yield Need(severity="warn", words=f"{what}: {names}", of="node", id=id)


def _of_quarantine(ids: list[str], nodes: Mapping[str, Node]) -> Iterator[Need]:
    if ids:
        words = f"{counted(len(ids), 'node')} in quarantine, left out of updates and rounds: {_names(ids, nodes)}"
        yield Need(severity="warn", words=words, of="node", id=ids[0] if len(ids) == 1 else "", state="quarantined")


def _of_drift(
    inputs: Mapping[str, DriftSeen], states: Mapping[str, str], nodes: Mapping[str, Node], *, loops: bool
) -> Iterator[Need]:
    ids = {id.partition(":")[0] for id, seen in inputs.items() if seen.state == "drifted"} & states.keys()
    if ids and not loops:  # else the closed loop starts a run
        words = f"what {counted(len(ids), 'node')} see has drifted: start a federated run: {_names(ids, nodes)}"
        yield Need(severity="warn", words=words, of="drift")


async def _of_webhooks(ledger: Ledger) -> list[Need]:
    found = []
    for name, (_, each) in (await read_webhooks(ledger)).items():
        if each is not None and each.failing_since:
            words = f"webhook {name} fails since {when(each.failing_since)}: {each.last_answer[:100]}"
            found.append(Need(severity="warn", words=words, of="token"))
    return found


async def _of_coordinator(office: Office, caller: Caller, now: float) -> list[Need]:
    core, found = office.core, list[Need]()
    if not caller.scope.everywhere:
        return found
    disk = await asyncio.to_thread(shutil.disk_usage, core.settings.data_dir)
    if disk.free < LEAST_FREE * disk.total:
        words = f"the disk of the coordinator has {disk.free / disk.total:.0%} free: {disk.free / 1e9:.1f} GB"
        found.append(Need(severity="bad", words=words, of="coordinator"))
    begins, ends = core.trust.ca.validity
    if expires_soon(begins, ends, now):
        found.append(Need(severity="bad", words=f"the fleet's CA ends on {when(ends)[:10]}", of="coordinator"))
    if caller.role.includes(Role.ADMIN):
        found += await _of_webhooks(core.ledger)
        for id, token in await list_operator_tokens(core.ledger):
            lasts_s = token.expires_at - token.created_at
            if token.state(now) == "usable" and token.expires_at - now < TOKEN_SOON_S < lasts_s:
                words = f"the token of {token.name} expires on {when(token.expires_at)[:10]}"
                found.append(Need(severity="wait", words=words, of="token", id=id))
    return found


def _rollout(id: str, rollout: Rollout) -> RolloutGlance:
    return RolloutGlance(
        id=id,
        release=rollout.release_id,
        model=rollout.model,
        state="paused" if rollout.paused_by else rollout.state.value,
        wave=rollout.waves_started,
        waves=rollout.waves_started + rollout.waves_to_come,
        nodes=rollout.planned,
        asked=sum(wave.told for wave in rollout.waves),
    )


def _run(run: Run) -> RunGlance:
    return RunGlance(
        id=run.run_id,
        model=run.model,
        state=run.state.value,
        round=run.done + (run.open_round is not None),
        rounds=run.rounds,
        participants=len(run.participants),
        accuracy=tuple(each.metrics[BEFORE] for each in run.finished if BEFORE in each.metrics),
    )
