"""What may leave the ledger: never what lives, what is new, or what something needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st

from littoral_cloud.federation.run import FinishedRound, Run, RunState
from littoral_cloud.fleet.measurements import MeasurementIndex
from littoral_cloud.fleet.records import Desired, DesiredModel, Enrolment, FederatedTask, Node, Release
from littoral_cloud.retention.ended import EndedView, rollouts_to_archive, runs_to_archive
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState
from littoral_cloud.rollouts.rechoice import Fleet, followed
from littoral_cloud.rollouts.seen import FleetNode
from littoral_cloud.rollouts.state import ENDED, Rollout, RolloutPolicy, RolloutState
from tests.kit.rollout_world import artifact

MODELS = ("digits", "gears")
NODES = ("a", "b", "c")
ARTIFACTS = {a.manifest_digest: a for a in (artifact(f"x{n}") for n in range(6))}
STATES = st.sampled_from([*[RolloutState.SUCCEEDED] * 3, RolloutState.ROLLED_BACK, RolloutState.FAILED, RolloutState.WAVE])


def weights_of(number: int) -> str:
    return f"sha256:{number:064x}"


@st.composite
def views(draw: st.DrawFn) -> EndedView:
    digests = list(ARTIFACTS)
    releases = {
        f"r{n}": Release(
            release_id=f"r{n}",
            model=draw(st.sampled_from(MODELS)),
            kind="manual",
            artifacts=tuple(draw(st.sets(st.sampled_from(digests), min_size=1, max_size=2))),
            created_at=float(n),
            run_id=draw(st.sampled_from([None, "run0", "run1"])),
            withdrawn=draw(st.sampled_from(["", "bad"])),
        )
        for n in range(6)
    }
    rollouts = {}
    for n in range(draw(st.integers(0, 14))):
        release, state = releases[draw(st.sampled_from(sorted(releases)))], draw(STATES)
        named = tuple(draw(st.sets(st.sampled_from(NODES), max_size=2)))
        rollouts[f"{release.release_id}-r{n}"] = Rollout(
            release_id=release.release_id,
            model=release.model,
            kind=release.kind,
            policy=RolloutPolicy(nodes=named),
            state=state,
            created_at=float(n),
            entered_at=float(n),
            deadline=9e9,
            ended_at=float(draw(st.integers(1, 9))) if state in ENDED else None,
        )
    runs = {f"run{n}": draw(runs_of(n)) for n in range(draw(st.integers(0, 8)))}
    desired = {
        node: Desired(
            models={
                model: DesiredModel(manifest_digest=draw(st.sampled_from(digests)), rollout_id="gone-r1", generation=1)
                for model in draw(st.sets(st.sampled_from(MODELS)))
            },
            federated=draw(st.sampled_from([None, task("run2")])),
        )
        for node in NODES
    }
    settled = frozenset(draw(st.sets(st.sampled_from([f"run{n}" for n in range(8)]))))
    return EndedView(rollouts, runs, releases, desired, settled, frozenset({weights_of(3)}))


def task(run_id: str) -> FederatedTask:
    return FederatedTask(run_id=run_id, message_id="m", message_digest="d", message_bytes=1, round=1)


@st.composite
def runs_of(draw: st.DrawFn, number: int) -> Run:
    state = draw(st.sampled_from(RunState))
    finished = FinishedRound(
        number=1, seconds=1.0, weights=weights_of(number), participants=(), failed={}, bytes_down=0, bytes_up=0, metrics={}
    )
    return Run(
        run_id=f"run{number}",
        model=draw(st.sampled_from(MODELS)),
        strategy="fedavg",
        rounds=1,
        local_epochs=1,
        learning_rate=0.1,
        batch_size=1,
        seed=1,
        architecture={},
        input={},
        classes=2,
        base_weights=weights_of(99),
        state=state,
        finished=(finished,),
        origin=draw(st.sampled_from(["operator", "loop"])),
        finished_at=float(draw(st.integers(1, 9))) if state.terminal else 0.0,
    )


def fleet_of(rollouts: Mapping[str, Rollout], seen: EndedView) -> Fleet:
    def assignment(rollout_id: str, node_id: str) -> Assignment | None:
        """Some nodes got something in some rollouts."""
        if crc32(f"{rollout_id}/{node_id}".encode()) % 2:
            return None
        state = AssignmentState.COMMITTED
        return Assignment(
            rollout_id=rollout_id, node_id=node_id, state=state, manifest_digest="m", name="x", previous="", generation=1
        )

    return Fleet(rollouts, seen.releases, ARTIFACTS, MeasurementIndex(), assignment)


def node_of(id: str, desired: Desired) -> FleetNode:
    node = Node(
        node_id=id,
        name=id,
        enrolment=Enrolment.ACCEPTED,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=9e9,
        enrolled_at=0.0,
    )
    return FleetNode(node, None, desired)


@settings(max_examples=50)
@given(views(), st.integers(0, 4))
def test_what_lives_and_what_is_new_stays_and_the_rest_is_bounded(seen: EndedView, keep: int) -> None:
    gone = rollouts_to_archive(seen, keep)
    assert all(seen.rollouts[id].state in ENDED for id in gone)
    left = {id: rollout for id, rollout in seen.rollouts.items() if id not in gone}
    for model in MODELS:
        for passed in (True, False):
            of = {
                id: rollout
                for id, rollout in seen.rollouts.items()
                if rollout.model == model and rollout.state in ENDED and (rollout.state is RolloutState.SUCCEEDED) == passed
            }
            newest = sorted(of, key=lambda id: (of[id].ended_at, id), reverse=True)[:keep]
            assert set(newest) <= left.keys()
    assert rollouts_to_archive(replace(seen, rollouts=left), keep) == [], "one pass finds all"


@settings(max_examples=50)
@given(views(), st.integers(1, 4))
def test_what_a_node_follows_is_what_it_followed_before(seen: EndedView, keep: int) -> None:
    gone = set(rollouts_to_archive(seen, keep))
    before, after = fleet_of(seen.rollouts, seen), fleet_of({i: r for i, r in seen.rollouts.items() if i not in gone}, seen)
    for id, desired in seen.desired.items():
        node = node_of(id, desired)
        for model in MODELS:
            was = [each.seen.rollout_id for each in followed(node, model, before)]
            assert [each.seen.rollout_id for each in followed(node, model, after)] == [id for id in was if id not in gone]
            wanted = desired.models.get(model)
            held = [each for each in followed(node, model, before) if wanted and wanted.manifest_digest in each.seen.digests]
            assert not {each.seen.rollout_id for each in held} & gone, "where its choice ends"


@settings(max_examples=50)
@given(views(), st.integers(0, 3))
def test_rollouts_of_a_run_that_the_loop_has_not_dealt_with_stay(seen: EndedView, keep: int) -> None:
    waiting = {id for id, run in seen.runs.items() if run.origin == "loop" and id not in seen.settled}
    for id in rollouts_to_archive(seen, keep):
        assert seen.releases[seen.rollouts[id].release_id].run_id not in waiting


@settings(max_examples=50)
@given(views(), st.integers(0, 3))
def test_runs_that_something_needs_stay(seen: EndedView, keep: int) -> None:
    gone = runs_to_archive(seen, keep)
    named = {release.run_id for release in seen.releases.values()}
    for id in gone:
        run = seen.runs[id]
        assert run.state.terminal
        assert id not in named, "a release was made of it"
        assert run.state is RunState.FAILED or run.weights not in seen.weights, "it is an artifact's origin"
        assert run.origin == "operator" or id in seen.settled
        assert not any(desired.federated and desired.federated.run_id == id for desired in seen.desired.values())
    for model in MODELS:
        ended = sorted((r.finished_at, id) for id, r in seen.runs.items() if r.model == model and r.state.terminal)
        assert not {id for _, id in ended[len(ended) - keep if keep < len(ended) else 0 :]} & set(gone)
    assert runs_to_archive(replace(seen, runs={id: run for id, run in seen.runs.items() if id not in gone}), keep) == []


def test_of_a_thousand_all_but_the_newest_and_the_followed_go() -> None:
    digests = list(ARTIFACTS)
    releases = {
        f"r{n}": Release(
            release_id=f"r{n}", model="digits", kind="manual", artifacts=(digests[0] if n == 0 else digests[1],), created_at=n
        )
        for n in range(1_000)
    }
    rollouts = {
        f"r{n}-r1": Rollout(
            release_id=f"r{n}",
            model="digits",
            kind="manual",
            policy=RolloutPolicy(),
            state=RolloutState.SUCCEEDED,
            created_at=n,
            entered_at=n,
            deadline=n,
            ended_at=float(n),
        )
        for n in range(1_000)
    }
    off = Desired(models={"digits": DesiredModel(manifest_digest=digests[0], rollout_id="r0-r1", generation=1)})
    gone = rollouts_to_archive(EndedView(rollouts, {}, releases, {"off": off}), 200)
    assert gone == [f"r{n}-r1" for n in range(1, 800)]
