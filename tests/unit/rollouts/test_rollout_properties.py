"""What holds of every rollout, whatever nodes and controllers do."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.budget import Budget
from littoral_cloud.fleet.records import UpdateState
from littoral_cloud.rollouts.assignments import AssignmentState
from littoral_cloud.rollouts.state import ENDED, RolloutPolicy, RolloutState
from tests.kit.rollout_world import MODEL, Fate, World, artifact

OLD = artifact("old")
CANDIDATES = [
    artifact("large", accuracy=0.99, size=50_000),
    artifact("middle", accuracy=0.985, size=10_000),
    artifact("small", accuracy=0.98, size=1_000),
    artifact("ncnn", accuracy=0.982, size=5_000, runtime="ncnn"),
]
DIGESTS = [candidate.manifest_digest for candidate in CANDIDATES]
SIZES = {candidate.manifest_digest: candidate.artifact_bytes for candidate in CANDIDATES}
POLICY = {"pending_s": 100.0, "measure_s": 40.0, "wave_s": 60.0, "restore_s": 30.0}
HORIZON_S = 3_000.0

BAD_OUTCOMES = (UpdateState.FAILED, UpdateState.ROLLED_BACK, UpdateState.ABORTED)
OUTCOMES = (*(UpdateState.SUCCEEDED,) * 20, *BAD_OUTCOMES, UpdateState.PENDING)  # PENDING: it hangs


def _spans(draw: st.DrawFn) -> tuple[tuple[float, float], ...]:
    starts = draw(st.lists(st.integers(1_000, 1_200), max_size=2))
    return tuple((float(start), float(start + draw(st.integers(1, 150)))) for start in starts)


@st.composite
def fleets(draw: st.DrawFn, *, bad: bool) -> World:
    world = World([OLD, *CANDIDATES])
    outcomes = st.sampled_from(BAD_OUTCOMES if bad else OUTCOMES)
    for number in range(draw(st.integers(1, 5))):
        fate = Fate(
            outcome={digest: draw(outcomes) for digest in DIGESTS},
            measures={digest: draw(st.sampled_from((*("",) * 8, "never", "runtime-failure"))) for digest in DIGESTS},
            takes_s=float(draw(st.integers(0, 80))),
            away=_spans(draw),
            repeats=draw(st.booleans()),
        )
        limit = draw(st.sampled_from((None, 100, 2_000, 20_000)))
        runtimes = draw(st.sampled_from((("onnxruntime",), ("ncnn",), ("onnxruntime", "ncnn"))))
        world.add_node(
            f"n{number}",
            fate,
            budget=Budget(artifact_bytes=limit),
            runtimes=runtimes,
            serving=draw(st.sampled_from(("", OLD.manifest_digest))) if not bad else OLD.manifest_digest,
            labelled=draw(st.integers(0, 1)),
        )
    return world


def live(world: World, id: str, rng: random.Random) -> None:
    """To the end of the rollout, with controllers that die after any number of commits and such that read too early."""
    until = world.now + HORIZON_S
    before: dict[str, int] = {}
    while world.rollout(id).state not in ENDED:
        assert world.now < until, f"does not end: {world.rollout(id)}"
        early = world.snapshot() if rng.random() < 0.3 else None
        if early is not None:
            world.tick(float(rng.randint(0, 2)), rng)
        world.control(commits=rng.choice((0, 1, 1, 2, 1_000)), stale=early)
        for node_id in world.actors:
            wanted = world.desired(node_id)[1].models.get(MODEL)
            if wanted is not None:
                assert wanted.generation >= before.get(node_id, 0), "an intent's generation fell"
                before[node_id] = wanted.generation
        world.tick(float(rng.randint(1, 20)), rng)


def settle(world: World) -> None:
    """Everybody is back, and does what is still wanted of it."""
    for actor in world.actors.values():
        actor.fate = Fate(outcome=actor.fate.outcome, takes_s=0.0)
    for _ in range(5):
        world.tick(1.0)


@settings(max_examples=150, deadline=None)
@given(
    world=fleets(bad=False),
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    seed=st.integers(0, 2**32),
    chosen=st.lists(st.sampled_from(range(4)), min_size=1, unique=True),
)
def test_it_always_ends_and_never_breaks_a_budget(world: World, sizes: list[int], seed: int, chosen: list[int]) -> None:
    had = {id: actor.serving for id, actor in world.actors.items()}
    budgets = {id: node.presence.budget_for(MODEL) for id, node in world.snapshot().nodes.items() if node.presence}
    id = world.start(world.release(1, *(CANDIDATES[i] for i in chosen)), RolloutPolicy(wave_sizes=tuple(sizes), **POLICY))
    live(world, id, random.Random(seed))
    ended = world.rollout(id)
    for _, node_id, digest in world.served:
        limit = budgets[node_id].artifact_bytes
        if digest in SIZES:
            assert digest in {CANDIDATES[i].manifest_digest for i in chosen}
            assert limit is None or SIZES[digest] <= limit
            assert world.actors[node_id].fate.measures.get(digest) == ""
    assert all(wave.ended_at is not None for wave in ended.waves), "an ended rollout has a wave that runs"
    assert [wave.told for wave in ended.waves] == [len(nodes) for nodes in world.waves(id)]
    assert all(wave.told <= max(sizes[0], 1) for wave in ended.waves[:1])
    if ended.state is RolloutState.ROLLED_BACK:
        assert ended.reason
        settle(world)
        for node_id, before in had.items():
            if before:
                assert world.actors[node_id].serving == before, "a node was left on a rolled-back manifest"
    if ended.state is RolloutState.FAILED:
        assert world.served == [each for each in world.served if each[2] not in SIZES], "nobody has what failed"
    if ended.state is RolloutState.SUCCEEDED:
        for a in world.assignments(id).values():
            assert a.state is not AssignmentState.TOLD
            assert a.state is not AssignmentState.COMMITTED or world.actors[a.node_id].serving == a.manifest_digest
    assert all(world.desired(node_id)[1].benchmarks == () for node_id in world.actors)


@settings(max_examples=100, deadline=None)
@given(world=fleets(bad=True), seed=st.integers(0, 2**32))
def test_a_bad_release_never_goes_beyond_the_canary(world: World, seed: int) -> None:
    id = world.start(world.release(1, *CANDIDATES), RolloutPolicy(**POLICY))
    live(world, id, random.Random(seed))
    ended = world.rollout(id)
    assert ended.state in (RolloutState.ROLLED_BACK, RolloutState.FAILED)
    assert sum(a.touched for a in world.assignments(id).values()) <= 1
    settle(world)
    assert {actor.serving for actor in world.actors.values()} == {OLD.manifest_digest}


@settings(max_examples=50, deadline=None)
@given(world=fleets(bad=False), seed=st.integers(0, 2**32))
def test_two_rollouts_of_a_model_never_run_at_once(world: World, seed: int) -> None:
    rng = random.Random(seed)
    ids = [world.start(world.release(n, CANDIDATES[n]), RolloutPolicy(**{**POLICY, "pending_s": 1_000.0})) for n in (1, 2)]
    until = world.now + HORIZON_S
    while any(world.rollout(id).state not in ENDED for id in ids):
        assert world.now < until
        world.control(commits=rng.choice((0, 1, 1_000)))
        running = [id for id in ids if world.rollout(id).state not in {*ENDED, RolloutState.PENDING}]
        assert len(running) <= 1
        world.tick(float(rng.randint(1, 20)), rng)
