"""From what a run learnt to a release: exported, measured, signed, and judged against the weights that the run started from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from littoral.architectures import sizes_of
from littoral.errors import BadInput, Conflict
from littoral.lineage import BASE
from littoral.preparation import Input
from littoral_cloud.app import Core
from littoral_cloud.data.sources import load_dataset
from littoral_cloud.federation.evaluation import WorseThanBase, judgement
from littoral_cloud.federation.run import Run, RunState
from littoral_cloud.fleet.records import Release
from littoral_cloud.packaging.node_check import taken_by_a_node
from littoral_cloud.packaging.package import Bench, Provenance, candidates_from
from littoral_cloud.releases.catalogue import create_release, publish, release_of_run
from littoral_cloud.training.preparation import INPUT_NAME
from littoral_cloud.training.train import Trained, accuracy_of, logits_of
from littoral_cloud.training.weights import arrays_from, module_of

RUN_VARIANTS = ("onnx-int8", "ncnn-fp16")
"""The small ones: a run serves nodes whose inputs have changed, and those have budgets."""


async def release_run(
    core: Core,
    run: Run,
    now: float,
    *,
    actor: str = "operator",
    tell: Callable[[str], None] = lambda _: None,
    worse_too: bool = False,
) -> Release:
    """What the fleet learnt in a run, exported in every way that nodes may want, as a release of kind "federated".

    A run has one release: asking again gives the same one. `tell` gets what a node refuses, or what was not tried on one.
    `worse_too`: also where it answers held-out examples worse than its base; each artifact carries a remark then.

    Raises:
        WorseThanBase. Conflict: the run has not succeeded. BadInput, BadData: its data set is not known or not there any more.
    """
    if (already := await release_of_run(core.ledger, run.run_id)) is not None:
        return already
    if run.state is not RunState.SUCCEEDED:
        raise Conflict(f"run {run.run_id}: is {run.state}", hint="wait until it has SUCCEEDED: littoral-cloud run watch")
    if not run.data:
        raise BadInput(f"run {run.run_id}: its data set is not known", hint="publish the base with its data set, then run again")
    dataset = load_dataset(run.data)
    weights = core.blobs.read(run.weights)
    sizes = sizes_of(run.architecture, dataset.shape)
    module = module_of(run.architecture, arrays_from(weights), **sizes, classes=dataset.classes)
    given = Input(
        INPUT_NAME, dataset.shape, run.input["scale"], tuple(run.input["mean"]), tuple(run.input["std"]), dataset.resize
    )
    before = module_of(run.architecture, arrays_from(core.blobs.read(run.base_weights)), **sizes, classes=dataset.classes)
    was, became = (accuracy_of(logits_of(net, given, dataset.test_x), dataset.test_y) for net in (before, module))
    found = judgement(run, was, became)
    if found.worse and not worse_too:
        raise WorseThanBase(f"run {run.run_id}: {found.remark}", hint="release it all the same with --yes, or start another run")
    network = Trained.of(run.run_id, module, run.architecture, given, 0.0)
    how = {"strategy": run.strategy, "rounds": run.rounds, "local_epochs": run.local_epochs, "seed": run.seed}
    provenance = Provenance((run.base_weights,), (BASE,), {"run": how})
    bench = Bench.of(dataset, given)  # as the nodes prepared theirs
    made = candidates_from(network, bench, RUN_VARIANTS, model=run.model, name=run.run_id, provenance=provenance)
    if found.remark:
        made = [replace(p, manifest=replace(p.manifest, remarks=(*p.manifest.remarks, found.remark))) for p in made]
    taken = await taken_by_a_node(made, tell)
    artifacts = [await publish(core, packaged, now, weights=weights, data=run.data, actor=actor) for packaged in taken]
    return await create_release(
        core.ledger,
        run.model,
        [a.manifest_digest for a in artifacts],
        "federated",
        f"run {run.run_id}",
        now,
        run_id=run.run_id,
        actor=actor,
    )
