"""From what a recipe made to a release in the ledger: every artifact signed, with the weights that rounds begin from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from littoral.architectures import sizes_of
from littoral.lineage import WEIGHTS
from littoral_cloud.app import Core
from littoral_cloud.data.sources import load_dataset
from littoral_cloud.factory.production import Made
from littoral_cloud.fleet.records import Release
from littoral_cloud.packaging.node_check import taken_by_a_node
from littoral_cloud.packaging.package import Bench, Packaged, candidates_from
from littoral_cloud.releases.catalogue import create_release, publish
from littoral_cloud.releases.parents import parents_by_role
from littoral_cloud.releases.teacher_store import store_teacher
from littoral_cloud.training.resume import Tell
from littoral_cloud.training.schedule import ignore
from littoral_cloud.training.train import Trained
from littoral_cloud.training.weights import Arrays, arrays_of, module_of, weights_bytes


async def release_made(
    core: Core, made: Made, now: float, *, kind: str, note: str, data: str, actor: str = "operator"
) -> Release:
    """Publishes every artifact and makes one release of them.

    Args:
        data: where the data set lies on this machine: a later federated run is exported and judged by it.

    Raises what `publish` and `create_release` raise.
    """
    digests = []
    for packaged, weights in weights_of(made):
        artifact = await publish(core, packaged, now, weights=weights, data=data, actor=actor)
        digests.append(artifact.manifest_digest)
    await store_teacher(core, made)
    return await create_release(core.ledger, made.production.model, digests, kind, note, now, actor=actor)


def weights_of(made: Made) -> list[tuple[Packaged, bytes]]:
    """Each artifact with the safetensors bytes of the network that it was exported from; empty: it is not here."""
    weights = {student.digest: weights_bytes(arrays_of(student.module)) for student in made.students}
    return [(each, weights.get(parents_by_role(each.manifest)[WEIGHTS][0], b"")) for each in made.packaged]


async def release_weights(
    core: Core,
    spec: Mapping[str, Any],
    arrays: Arrays,
    now: float,
    *,
    data: str,
    model: str,
    name: str,
    note: str,
    actor: str = "operator",
    tell: Tell = ignore,
) -> Release:
    """A network that was trained elsewhere, exported in every way, as a release of kind "manual".

    Args:
        spec: its architecture, as littoral.architectures.build takes it.
        data: path of the data set whose test split measures it.
        name: of the student; each artifact is called NAME-VARIANT.
        tell: called with what a node refuses, or what was not tried on one.

    Raises BadInput, BadData or NotFound where weights, spec and data do not go together.
    """
    dataset = load_dataset(data)
    module = module_of(spec, arrays, **sizes_of(spec, dataset.shape), classes=dataset.classes)
    stored = weights_bytes(arrays)
    bench = Bench.of(dataset)
    made = candidates_from(Trained.of(name, module, spec, bench.input, 0.0), bench, model=model, name=name)
    taken = await taken_by_a_node(made, tell)
    artifacts = [await publish(core, packaged, now, weights=stored, data=data, actor=actor) for packaged in taken]
    return await create_release(core.ledger, model, [a.manifest_digest for a in artifacts], "manual", note, now, actor=actor)
