"""What an operator may ask of rollouts: start one, read it, wait for its end. The controller carries it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from littoral.errors import BadInput, Conflict, NotFound
from littoral.maintenance import parse_window
from littoral.transport import LONGEST_DEFERRAL_S, LONGEST_PROBATION_S
from littoral_cloud.fleet.cohorts import matching
from littoral_cloud.fleet.ledger import Audit, Change, Doc, Ledger, Write, until
from littoral_cloud.fleet.records import Enrolment, Node, Probation, Release, dump, load
from littoral_cloud.rollouts.eligibility import refusal, share_that_could_take
from littoral_cloud.rollouts.numbers import highest_archived, rollout_id
from littoral_cloud.rollouts.preview import could_take, new_rollout, read_before
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import ENDED, KIND, Rollout, RolloutPolicy
from littoral_cloud.rollouts.waves import checked_sizes, first_wave, is_large, may_be_large
from littoral_cloud.rollouts.wording import first_of

LONGEST_APPROVAL_S = 366 * 86_400.0
MOST_NODES = 100_000
"""The largest bound of a wave: one step writes its nodes' desired state."""


def policy_with(probation_s: float) -> RolloutPolicy:
    """The default policy with this time of probation."""
    return RolloutPolicy(probation=Probation(duration_s=probation_s))


async def start_rollout(
    ledger: Ledger,
    release: Release,
    now: float,
    policy: RolloutPolicy | None = None,
    *,
    number: int = 0,
    large_first_wave: bool = False,
    approval_above: float = 1.0,
    actor: str = "operator",
    look: Callable[[Rollout], Awaitable[RolloutView]] | None = None,
) -> str:
    """Asks for a rollout of a release; the coordinator's controller carries it out. Gives its id, RELEASE-rNUMBER.

    Args:
        number: for a caller that must not start one twice: the number that it must get. 0: the next.
        approval_above: a rollout that could reach more than this part of the fleet needs approval; 1: none does.
        look: gives what a rollout would see that is not written; None: the ledger is read.
        large_first_wave: also where the first wave has more than a fifth of the nodes that could take the release.

    Raises BadInput where the policy cannot be, or the release was withdrawn; Conflict where the given number is taken.
    """
    policy = policy or RolloutPolicy()
    await check_start(ledger, release, policy)
    large = not large_first_wave and may_be_large(policy)
    asks = not policy.approval and not policy.way_back and approval_above < 1
    if large or asks:
        seen = await (look(new_rollout(release, policy, now)) if look else read_before(ledger, release, policy, now))
        if large:
            _refuse_large_first_wave(seen, now)
        if asks and share_that_could_take(seen) > approval_above:
            policy = replace(policy, approval=True)
    rollout = new_rollout(release, policy, now, started_by=actor)
    archived = await highest_archived(ledger, release.release_id)
    if 0 < number <= archived:
        raise Conflict(f"rollout {rollout_id(release.release_id, number)}: was started, and is archived")
    wanted = number or archived + 1
    while True:
        id = rollout_id(release.release_id, wanted)
        line = Audit("rollout.started", id, actor, {"release": release.release_id, "kind": release.kind})
        try:
            await ledger.commit(Change((Write(KIND, id, dump(rollout), 0),), (line,)))
        except Conflict:
            if number:
                raise
            wanted += 1
            continue
        return id


def limits_of(policy: RolloutPolicy) -> tuple[tuple[str, str, float, float, float, float], ...]:
    """Of each bounded value: its option, its path in the policy, what it is, the least, the most, and an example."""
    trial = policy.probation
    return (
        ("probation-s", "probation.duration_s", trial.duration_s, 0, LONGEST_PROBATION_S, 600),
        ("probation-max-drop", "probation.max_accuracy_drop", trial.max_accuracy_drop, 0, 1.0, 0.05),
        ("max-drop-vs-served", "max_accuracy_loss", policy.max_accuracy_loss, 0, 1.0, 0.02),
        ("defer-s", "defer_s", policy.defer_s, 0, LONGEST_DEFERRAL_S, 3_600),
        ("approval-s", "approval_s", policy.approval_s, 0, LONGEST_APPROVAL_S, 86_400),
        ("most-nodes", "most_nodes", policy.most_nodes, 1, MOST_NODES, 1_000),
    )


async def check_start(ledger: Ledger, release: Release, policy: RolloutPolicy) -> None:
    """Raises BadInput where the policy cannot be, or the release was withdrawn."""
    doc = await ledger.get("release", release.release_id)  # it may have been withdrawn since the caller read it
    if doc is not None and (why := load(Release, doc).withdrawn):
        raise BadInput(f"release {release.release_id}: was withdrawn: {why}", hint="littoral-cloud release list")
    checked_sizes(policy.wave_sizes, "wave_sizes")
    parse_window(policy.window, "--window")
    for name, _, value, least, most, usual in limits_of(policy):
        if not least <= value <= most:  # nan is refused, too
            raise BadInput(f"--{name}: {value:g} must lie between {least} and {most:g}", hint=f"like --{name} {usual:g}")
    if policy.canary and policy.nodes and policy.canary not in policy.nodes:
        raise BadInput(f"canary: {policy.canary} is not among the nodes that were named", hint="name it with --nodes, too")
    enrolled = {node_id: await ledger.get("node", node_id) for node_id in {*policy.nodes, *filter(None, (policy.canary,))}}
    for node_id, doc in enrolled.items():
        if doc is None:
            raise BadInput(f"node {node_id!r}: is not enrolled", hint="littoral-cloud node list")
    named = [load(Node, doc) for node_id, doc in enrolled.items() if doc is not None and node_id in policy.nodes]
    if policy.where:
        matched = [node.node_id for node in await matching(ledger, policy.where) if node.enrolment is Enrolment.ACCEPTED]
        if not any(node_id in policy.nodes or not policy.nodes for node_id in matched):
            raise BadInput(f"--where: {policy.where} matches no node of the fleet", hint="littoral-cloud node list")
    if named and not any(node.enrolment is Enrolment.ACCEPTED for node in named):
        states = ", ".join(first_of(named, lambda node: f"{node.name} is {node.enrolment.value}"))
        raise BadInput(f"--nodes: matches no node of the fleet: {states}", hint="littoral-cloud node list")


def _refuse_large_first_wave(seen: RolloutView, now: float) -> None:
    """Raises BadInput where the first wave is large. Where no node is there, those that could take it later count."""
    planned = len(could_take(seen, now)[0]) or sum(refusal(node, seen) is None for node in seen.nodes.values())
    first = first_wave(seen.rollout.policy, planned)
    if is_large(first, planned):
        raise BadInput(
            f"waves: the first has {first} of {planned} nodes: a bad release would reach them all at once",
            hint="begin with a smaller wave, like 1,5%,25%; --yes starts it all the same",
        )


async def read_rollout(ledger: Ledger, rollout_id: str) -> tuple[Doc, Rollout]:
    """Raises NotFound."""
    if (doc := await ledger.get(KIND, rollout_id)) is None:
        raise no_rollout(rollout_id)
    return doc, load(Rollout, doc)


def no_rollout(rollout_id: str) -> NotFound:
    return NotFound(f"rollout {rollout_id!r}: there is none", hint="littoral-cloud rollout list")


async def wait(ledger: Ledger, rollout_id: str, within_s: float = float("inf")) -> Rollout:
    """Returns when it has ended. Raises FleetError where it has not after this time."""

    async def look() -> Rollout | None:
        _, rollout = await read_rollout(ledger, rollout_id)
        return rollout if rollout.state in ENDED else None

    return await until(ledger, (KIND,), look, seconds=within_s, what=f"rollout {rollout_id} to end")
