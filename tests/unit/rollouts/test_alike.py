"""Nodes that are alike share an answer; it is the one that each of them alone would get."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.budget import Budget
from littoral.errors import NoFit
from littoral.tensor_spec import FREE, TensorSpec
from littoral_cloud.fleet.interface import Interface
from littoral_cloud.fleet.measurements import MeasurementIndex, MeasurementRecord
from littoral_cloud.fleet.records import Enrolment, Presence
from littoral_cloud.rollouts.eligibility import chosen_for, refusal
from littoral_cloud.rollouts.seen import FleetNode, RolloutView
from littoral_cloud.rollouts.state import Ineligible, RolloutPolicy
from tests.kit.rollout_world import MODEL, World, artifact


def says(*labels: str) -> Interface:
    return Interface((TensorSpec("x", "FP32", (FREE, 4)),), (TensorSpec("y", "FP32", (FREE, len(labels))),), labels)


CATS, DOGS = says("cat", "dog"), says("dog", "cat")
SERVED = [artifact("old-cats", accuracy=0.985, interface=CATS), artifact("old-dogs", accuracy=0.95, interface=DOGS)]
CANDIDATES = [
    artifact("large", accuracy=0.99, size=50_000, requires={"ir": 10, "opset": 21}),
    artifact("int8", accuracy=0.985, size=10_000, requires={"int8_dot": 1}, interface=CATS),
    artifact("coded", accuracy=0.98, size=5_000, needs=("graphs-1",), interface=DOGS),
    artifact("ncnn", accuracy=0.97, size=1_000, runtime="ncnn", interface=CATS),
]
VERSIONS: tuple[dict[str, object], ...] = (
    {},
    {"version": "1.14"},
    {"highest_ir": 9, "highest_opset": 20},
    {"highest_ir": 9, "highest_opset": 21},
    {"highest_ir": 10, "highest_opset": 21},
)
HARDWARE = st.fixed_dictionaries(
    {
        "isa": st.sampled_from(([], ["avx2"], ["avx2", "avx_vnni"])),
        "runtimes": st.sampled_from(VERSIONS).map(lambda version: [{"name": "onnxruntime", **version}]),
    }
)
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "hardware": HARDWARE,
    "hardware_class": st.sampled_from(("", "board", "phone")),
    "runtimes": st.sampled_from(((), ("onnxruntime",), ("ncnn",), ("onnxruntime", "ncnn"))),
    "features": st.sampled_from(((), ("graphs-1",))),
    "budgets": st.sampled_from((None, 100, 7_000, 20_000)).map(lambda size: {MODEL: Budget(artifact_bytes=size)}),
}


@st.composite
def nearly_alike(draw: st.DrawFn) -> list[dict[str, object]]:
    """What some nodes say of themselves: each differs from the first in one field at most."""
    first = {name: draw(values) for name, values in FIELDS.items()}
    changed = draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=7, max_size=7))
    return [first, *({**first, name: draw(FIELDS[name])} for name in changed)]


MEASURED = st.builds(
    MeasurementRecord,
    manifest_digest=st.sampled_from([candidate.manifest_digest for candidate in CANDIDATES]),
    node_id=st.sampled_from(["n0", "n1", "n2", "elsewhere"]),
    hardware_class=st.sampled_from(("", "board", "phone")),
    failure=st.sampled_from(("", "", "runtime-crash")),
    p95_ms=st.just(1.0),
)


def answer(node: FleetNode, seen: RolloutView) -> Ineligible | str:
    """What the node gets, or why it gets nothing."""
    if (no := refusal(node, seen)) is not None:
        return no
    try:
        return chosen_for(node, seen).name
    except NoFit as error:
        return error.message


@given(
    presences=nearly_alike(),
    serving=st.sampled_from([("",), (SERVED[0].manifest_digest,), ("", *(each.manifest_digest for each in SERVED))]),
    records=st.lists(MEASURED, max_size=12),
    later=MEASURED,
    policy=st.builds(RolloutPolicy, allow_interface_change=st.booleans(), max_accuracy_loss=st.sampled_from((0.01, 1.0))),
)
@settings(deadline=None)
def test_what_is_worked_out_once_is_what_each_node_would_get(
    presences: list[dict[str, object]],
    serving: tuple[str, ...],
    records: list[MeasurementRecord],
    later: MeasurementRecord,
    policy: RolloutPolicy,
) -> None:
    world = World([*SERVED, *CANDIDATES])
    for number, (fields, served) in enumerate(zip(presences, cycle(serving), strict=False)):
        world.add_node(f"n{number}", serving=served)
        world.edit("presence", f"n{number}", Presence, **fields)
    id = world.start(world.release(1, *CANDIDATES), policy)
    shared = replace(world.snapshot().of(id), measurements=MeasurementIndex(records))
    for _ in range(2):
        for node in shared.nodes.values():
            assert answer(node, shared) == answer(node, replace(shared))  # a view of its own knows no answers yet
        shared.measurements.put(later)


def test_who_is_named_or_was_taken_out_is_asked_of_each_node() -> None:
    world = World(CANDIDATES)
    for node_id in ("a", "b", "c"):
        world.add_node(node_id, kind="board", features=("graphs-1",))
    id = world.start(world.release(1, *CANDIDATES), RolloutPolicy(nodes=("a", "b")))
    seen = world.snapshot().of(id)
    gone = replace(seen.nodes["b"], node=replace(seen.nodes["b"].node, enrolment=Enrolment.DECOMMISSIONED))
    rules = [no.rule if (no := refusal(node, seen)) else "" for node in (seen.nodes["a"], gone, seen.nodes["c"])]
    assert rules == ["", "accepted", "named"]
