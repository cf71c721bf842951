"""The ways back from a release that turned out bad after its rollout had passed.

`withdraw_everywhere`: no node gets it any more, and its running rollouts stop. `go_back`: nodes get the release before.
"""

from __future__ import annotations

from littoral.errors import BadInput, NotFound
from littoral.maintenance import ALWAYS
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.nodes import names_of
from littoral_cloud.fleet.records import Release, Reported, load
from littoral_cloud.releases.catalogue import all_releases, read_release, withdraw
from littoral_cloud.rollouts.commands import start_rollout
from littoral_cloud.rollouts.intents import UNJUDGED
from littoral_cloud.rollouts.state import ENDED, KIND, Rollout, RolloutPolicy, RolloutState
from littoral_cloud.rollouts.steering import abort

BACK = RolloutPolicy(
    wave_sizes=(1,),
    probation=UNJUDGED,
    max_accuracy_loss=1.0,
    allow_interface_change=True,
    way_back=True,
    window=ALWAYS,
    defer_s=0.0,
)
"""What served before is not judged again: by its accuracy it may be worse, and clients knew it. It waits for no window."""


async def withdraw_everywhere(ledger: Ledger, release_id: str, why: str, actor: str) -> tuple[Release, tuple[str, ...]]:
    """The release, and the rollouts of it that were asked to stop. Raises NotFound, BadInput."""
    release = await withdraw(ledger, release_id, why, actor=actor)
    stopped = []
    for id, rollout in (await _rollouts(ledger)).items():
        running = rollout.state not in ENDED and rollout.state is not RolloutState.ROLLING_BACK
        if rollout.release_id == release_id and running and not rollout.aborted_by:
            await abort(ledger, id, actor)
            stopped.append(id)
    return release, tuple(stopped)


async def serving_nodes(ledger: Ledger, release: Release) -> list[str]:
    """Names of the nodes that answer with an artifact of this release, by their last report."""
    served = {doc.id: load(Reported, doc).models.get(release.model) for doc in await ledger.all("reported")}
    serving = [id for id, model in served.items() if model and model.serving in release.artifacts]
    names = await names_of(ledger, serving)
    return sorted(names.get(id, id) for id in serving)


async def go_back(
    ledger: Ledger, model: str, now: float, *, to: str = "", policy: RolloutPolicy = BACK, actor: str = "operator"
) -> str:
    """Asks for a rollout of the release that the fleet had before; gives the rollout's id.

    Args:
        to: a release of the model; "": the one whose rollout passed last before the newest, and that was not withdrawn.

    Raises NotFound where there is nothing to go back to; BadInput where `to` is of another model, or was withdrawn.
    """
    if to:
        release = await read_release(ledger, to)
        if release.model != model:
            raise BadInput(f"--to: {to} is a release of {release.model}, not of {model}", hint="littoral-cloud release list")
    else:
        release = await release_before(ledger, model)
    return await start_rollout(ledger, release, now, policy, actor=actor)


async def releases_in_force(ledger: Ledger) -> dict[str, Release]:
    """By model, the newest release that was not withdrawn, or, where the fleet went back after that one was made, the one that it
    went back to. The newest counts even where its rollout failed: `littoral-cloud up` rolls it out again."""
    releases = {release.release_id: release for release in await all_releases(ledger) if not release.withdrawn}
    newest = {release.model: release for release in releases.values()}
    passed = [r for r in await _passed(ledger) if r.release_id in releases]
    for rollout in sorted(passed, key=lambda r: r.created_at):
        if rollout.created_at > newest[rollout.model].created_at:
            newest[rollout.model] = releases[rollout.release_id]
    return newest


async def release_before(ledger: Ledger, model: str) -> Release:
    """What the fleet had before the newest release that passed its rollout. Raises NotFound where there is nothing."""
    releases = {release.release_id: release for release in await all_releases(ledger) if release.model == model}
    if not releases:
        raise NotFound(f"model {model!r}: has no release", hint="littoral-cloud release list")
    passed = sorted((r for r in await _passed(ledger) if r.release_id in releases), key=lambda r: r.began, reverse=True)
    for rollout in passed:
        if rollout.release_id != passed[0].release_id and not releases[rollout.release_id].withdrawn:
            return releases[rollout.release_id]
    raise NotFound(
        f"model {model}: no release before {passed[0].release_id} has passed a rollout"
        if passed
        else f"model {model}: no release has passed a rollout yet",
        hint="name one: littoral-cloud rollout back MODEL --to RELEASE",
    )


async def _passed(ledger: Ledger) -> list[Rollout]:
    """Of all their nodes, or of as many that they stand for them."""
    return [r for r in (await _rollouts(ledger)).values() if r.state is RolloutState.SUCCEEDED and r.proved]


async def _rollouts(ledger: Ledger) -> dict[str, Rollout]:
    return {doc.id: load(Rollout, doc) for doc in await ledger.all(KIND)}
