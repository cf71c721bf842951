"""What an operator may ask of rollouts: start one, read it, wait for its end, abort it. The controller carries it out."""

from __future__ import annotations

from dataclasses import replace

from littoral.errors import BadInput, Conflict, NotFound
from littoral.transport import LONGEST_PROBATION_S
from littoral_cloud.fleet.edit import revise
from littoral_cloud.fleet.ledger import Audit, Change, Doc, Ledger, Write, until
from littoral_cloud.fleet.records import Release, dump, load
from littoral_cloud.rollouts.state import ENDED, KIND, Rollout, RolloutPolicy, RolloutState, limit_s

LARGEST_WAVE = 1_000_000


async def start_rollout(
    ledger: Ledger, release: Release, now: float, policy: RolloutPolicy | None = None, *, number: int = 0, actor: str = "operator"
) -> str:
    """Asks for a rollout of a release; the coordinator's controller carries it out. Gives its id, RELEASE-rNUMBER.

    Args:
        number: for a caller that must not start one twice: the number that it must get. 0: the next.

    Raises BadInput where the policy cannot be, or the release was withdrawn; Conflict where the given number is taken.
    """
    policy = policy or RolloutPolicy()
    doc = await ledger.get("release", release.release_id)  # it may have been withdrawn since the caller read it
    if doc is not None and (why := load(Release, doc).withdrawn):
        raise BadInput(f"release {release.release_id}: was withdrawn: {why}", hint="littoral-cloud release list")
    if any(not 1 <= size <= LARGEST_WAVE for size in policy.wave_sizes) or not policy.wave_sizes:
        raise BadInput(
            f"wave_sizes: {policy.wave_sizes} must hold whole numbers from 1 to {LARGEST_WAVE:,}",
            hint="1,4 is a canary, then four, then the rest",
        )
    limits = (
        ("probation-s", policy.probation.duration_s, LONGEST_PROBATION_S),
        ("probation-max-drop", policy.probation.max_accuracy_drop, 1.0),
        ("max-drop-vs-served", policy.max_accuracy_loss, 1.0),
    )
    for name, value, most in limits:
        if not 0 <= value <= most:  # nan is refused, too
            raise BadInput(f"--{name}: {value:g} must lie between 0 and {most:g}")
    if policy.canary and policy.nodes and policy.canary not in policy.nodes:
        raise BadInput(f"canary: {policy.canary} is not among the nodes that were named", hint="name it with --nodes, too")
    for node_id in {*policy.nodes, *filter(None, (policy.canary,))}:
        if await ledger.get("node", node_id) is None:
            raise BadInput(f"node {node_id!r}: is not enrolled", hint="littoral-cloud node list")
    rollout = Rollout(
        release_id=release.release_id,
        model=release.model,
        kind=release.kind,
        policy=policy,
        state=RolloutState.PENDING,
        created_at=now,
        entered_at=now,
        deadline=now + limit_s(policy, RolloutState.PENDING),
    )
    wanted = number or 1
    while True:
        id = f"{release.release_id}-r{wanted}"
        line = Audit("rollout.started", id, actor, {"release": release.release_id, "kind": release.kind})
        try:
            await ledger.commit(Change((Write(KIND, id, dump(rollout), 0),), (line,)))
        except Conflict:
            if number:
                raise
            wanted += 1
            continue
        return id


async def read_rollout(ledger: Ledger, rollout_id: str) -> tuple[Doc, Rollout]:
    """Raises NotFound."""
    if (doc := await ledger.get(KIND, rollout_id)) is None:
        raise _no_rollout(rollout_id)
    return doc, load(Rollout, doc)


def _no_rollout(rollout_id: str) -> NotFound:
    return NotFound(f"rollout {rollout_id!r}: there is none", hint="littoral-cloud rollout list")


async def wait(ledger: Ledger, rollout_id: str, within_s: float = float("inf")) -> Rollout:
    """Returns when it has ended. Raises FleetError where it has not after this time."""

    async def look() -> Rollout | None:
        _, rollout = await read_rollout(ledger, rollout_id)
        return rollout if rollout.state in ENDED else None

    return await until(ledger, (KIND,), look, seconds=within_s, what=f"rollout {rollout_id} to end")


async def abort(ledger: Ledger, rollout_id: str, actor: str) -> None:
    """Asks for a rollout to stop: what it touched goes back. Raises NotFound; BadInput where it has ended."""

    def change(rollout: Rollout) -> Rollout:
        if rollout.state in ENDED or rollout.state is RolloutState.ROLLING_BACK:
            raise BadInput(f"rollout {rollout_id}: is {rollout.state} already", hint=f"littoral-cloud rollout show {rollout_id}")
        return replace(rollout, aborted_by=actor)

    line = Audit("rollout.abort-asked", rollout_id, actor)
    await revise(ledger, Rollout, KIND, rollout_id, change, line, missing=_no_rollout(rollout_id))
