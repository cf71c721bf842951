"""What a rollout would do: the same plan as the rollout itself makes, and nothing written."""

from __future__ import annotations

from dataclasses import replace

from littoral.budget import Budget
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.records import Enrolment, Node, Release, dump
from littoral_cloud.rollouts.preview import PREVIEW, TO_MEASURE, LeftOut, RolloutPreview, Share, new_rollout, preview
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import RolloutPolicy, RolloutState
from tests.kit.rollout_world import Fate, World, artifact
from tests.unit.rollouts.test_rollout_behaviour import run

OLD, LARGE, SMALL = artifact("old"), artifact("large", accuracy=0.99, size=9_000), artifact("small", accuracy=0.985, size=500)
TRAVELS = {LARGE.manifest_digest: 4_000, SMALL.manifest_digest: 300}


def fleet(count: int) -> World:
    """Two classes; nodes of the second may take little."""
    world = World([OLD, LARGE, SMALL])
    for number in range(count):
        little = number % 2 == 1
        world.add_node(
            f"n{number:02}",
            serving=OLD.manifest_digest,
            kind="weak" if little else "strong",
            budget=Budget(artifact_bytes=1_000) if little else Budget(),
        )
    return world


def measured(world: World, kind: str, node_id: str = "elsewhere") -> None:
    for digest in TRAVELS:
        record = MeasurementRecord(
            manifest_digest=digest, node_id=node_id, hardware_class=kind, p95_ms=1.0, peak_rss_bytes=1_000, samples=10
        )
        world.put("measurement", measurement_id(digest, node_id), dump(record))


def before(world: World, release: Release, policy: RolloutPolicy | None = None) -> RolloutView:
    snapshot = world.snapshot()
    mine = {PREVIEW: (0, new_rollout(release, policy or RolloutPolicy(), world.now))}
    return replace(snapshot, rollouts={**snapshot.rollouts, **mine}).of(PREVIEW)


def looked(world: World, release: Release, policy: RolloutPolicy | None = None) -> RolloutPreview:
    return preview(before(world, release, policy), world.now, TRAVELS)


def test_the_preview_is_what_the_rollout_then_does() -> None:
    world = fleet(20)
    for kind in ("strong", "weak"):
        measured(world, kind, f"elsewhere-{kind}")
    release = world.release(1, LARGE, SMALL)
    documents = dict(world.docs)
    said = looked(world, release)
    assert world.docs == documents, "nothing is written"
    assert [(len(wave.nodes), wave.bytes) for wave in said.waves] == [(1, 4_000), (4, 8_600), (15, 30_400)]
    assert said.shares == (Share("strong", "large", 10, 4_000, 4_000), Share("weak", "small", 10, 300, 300))
    assert (said.bytes, said.left_out, said.unmeasured, said.to_measure) == (43_000, (), (), ())
    id = world.start(release)
    run(world, id)
    assert [tuple(f"name-{id}" for id in nodes) for nodes in world.waves(id)] == [wave.nodes for wave in said.waves]


def test_who_is_left_out_is_grouped_by_reason() -> None:
    world = fleet(8)
    for kind in ("strong", "weak"):
        measured(world, kind, f"elsewhere-{kind}")
    world.edit("node", "n00", Node, enrolment=Enrolment.REJECTED)
    world.add_node("bare-1", runtimes=("coreml",))
    world.add_node("bare-2", runtimes=("coreml",))
    gone = world.add_node("gone", Fate(away=((0.0, 1e9),)), serving=OLD.manifest_digest)
    world.tick(1.0)
    world.tick(3_600.0)
    assert world.away(gone)
    said = looked(world, world.release(1, LARGE, SMALL))
    assert said.left_out == (
        LeftOut("has-runtime", "has coreml, the release needs onnxruntime", ("name-bare-1", "name-bare-2")),
        LeftOut("accepted", "is rejected", ("name-n00",)),
        LeftOut("connected", "is offline", ("name-gone",)),
    )
    assert sum(len(wave.nodes) for wave in said.waves) == 7


def test_a_release_that_no_node_has_measured_is_listed_by_waves_with_the_students_that_are_possible() -> None:
    world = fleet(20)
    release = world.release(1, LARGE, SMALL)
    said = looked(world, release)
    assert [(len(wave.nodes), wave.least_bytes, wave.bytes) for wave in said.waves] == [
        (1, 300, 4_000),
        (4, 1_200, 8_600),
        (15, 4_500, 30_400),
    ]
    assert said.shares == (
        Share("strong", TO_MEASURE, 10, 4_000, 300, ("large", "small")),
        Share("weak", TO_MEASURE, 10, 300, 300, ("small",)),  # the large one is above their budget, whatever they measure
    )
    assert (len(said.unmeasured), said.left_out) == (20, ())
    assert len(said.to_measure) == 2
    id = world.start(release)
    run(world, id)
    assert [tuple(f"name-{id}" for id in nodes) for nodes in world.waves(id)] == [wave.nodes for wave in said.waves]
    sent = sum(TRAVELS[a.manifest_digest] for a in world.assignments(id).values())
    assert said.least_bytes <= sent <= said.bytes


def test_classes_that_have_measured_stand_beside_those_that_have_not_in_the_order_of_their_turns() -> None:
    world = fleet(6)
    measured(world, "strong")
    said = looked(world, world.release(1, LARGE, SMALL))
    assert said.unmeasured == ("name-n01", "name-n03", "name-n05")
    assert said.to_measure == ("name-n01, name-n03, name-n05 to measure 2 of 2 candidates for weak",)
    assert said.left_out == ()
    assert [wave.nodes for wave in said.waves] == [("name-n00",), tuple(f"name-n0{number}" for number in range(1, 6))]
    assert said.shares[0] == Share("strong", "large", 3, 4_000, 4_000)


def test_what_no_measurement_can_change_leaves_a_node_out() -> None:
    world = fleet(1)
    world.add_node("tiny", serving=OLD.manifest_digest, kind="tiny", budget=Budget(artifact_bytes=100))
    world.add_node("good", serving=(best := artifact("best", accuracy=0.999)).manifest_digest, kind="strong")
    world.put("artifact", best.manifest_digest, dump(best))
    said = looked(world, world.release(1, SMALL), RolloutPolicy(max_accuracy_loss=0.001))
    assert [wave.nodes for wave in said.waves] == [("name-n00",)]
    assert {no.nodes: no.rule for no in said.left_out} == {("name-good",): "fits-budget", ("name-tiny",): "fits-budget"}
    assert "is under 0.9980" in said.left_out[1].reason


def test_what_nobody_measured_is_refused_before_a_start_in_the_words_of_the_start() -> None:
    world = fleet(1)
    release = world.release(1, artifact("unknown", accuracy=0.0))
    [out] = looked(world, release).left_out
    assert out.reason == (
        "the best that fits, unknown, cannot be compared with the served model's 0.9800 less 0.02 (--max-drop-vs-served): "
        "its quality was never measured; import it with data, or --max-drop-vs-served 1 gives it all the same"
    )
    ended = run(world, world.start(release))
    assert ended.state is RolloutState.FAILED
    assert out.reason in ended.reason
    world = fleet(1)
    anyway = RolloutPolicy(max_accuracy_loss=1.0)
    assert run(world, world.start(world.release(1, artifact("unknown", accuracy=0.0)), anyway)).state is RolloutState.SUCCEEDED


def test_one_candidate_that_a_node_could_not_run_leaves_the_others_possible() -> None:
    world = fleet(1)
    failed = MeasurementRecord(manifest_digest=LARGE.manifest_digest, node_id="n00", hardware_class="strong", failure="no-memory")
    world.put("measurement", measurement_id(LARGE.manifest_digest, "n00"), dump(failed))
    said = looked(world, world.release(1, LARGE, SMALL))
    assert said.shares == (Share("strong", TO_MEASURE, 1, 300, 300, ("small",)),)


def test_nodes_that_serve_their_student_are_counted_and_older_rollouts_are_named() -> None:
    world = fleet(4)
    for kind in ("strong", "weak"):
        measured(world, kind, f"elsewhere-{kind}")
    release = world.release(1, LARGE, SMALL)
    first = world.start(release)
    run(world, first)
    running = world.start(world.release(2, SMALL))
    said = looked(world, release)
    assert (said.already, said.waves, said.waits_for) == (4, (), (running,))
    assert looked(world, release, RolloutPolicy(nodes=("n00",))).already == 1
