"""From what a recipe made to a release in the ledger: every artifact signed, with the weights that rounds begin from."""

from __future__ import annotations

from cloud.factory.production import Made
from cloud.factory.weights import arrays_of, weights_bytes
from cloud.fleet.records import Release
from cloud.fleet.releases import Core, create_release, publish


async def release_made(
    core: Core, made: Made, now: float, *, kind: str, note: str, data: str, actor: str = "operator"
) -> Release:
    """Publishes every artifact and makes one release of them.

    Args:
        data: where the data set lies on this machine: a later federated run is exported and judged by it.

    Raises what `publish` and `create_release` raise.
    """
    weights = {student.digest: weights_bytes(arrays_of(student.module)) for student in made.students}
    digests = []
    for packaged in made.packaged:
        _, weights_digest, *_ = packaged.manifest.parents
        artifact = await publish(core, packaged, now, weights=weights.get(weights_digest, b""), data=data, actor=actor)
        digests.append(artifact.manifest_digest)
    return await create_release(core.ledger, made.production.model, digests, kind, note, now, actor=actor)
