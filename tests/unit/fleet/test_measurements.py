"""The index of measurements answers as a search through all of them would."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from littoral_cloud.fleet.measurements import MeasurementIndex, MeasurementRecord, measurement_id

DIGESTS, NODES, CLASSES = ("sha256:d", "sha256:e"), ("a", "b", "c"), ("", "board", "phone")
RECORDS = st.builds(
    MeasurementRecord,
    manifest_digest=st.sampled_from(DIGESTS),
    node_id=st.sampled_from(NODES),
    hardware_class=st.sampled_from(CLASSES),
    failure=st.sampled_from(("", "", "runtime-failure")),
    measured_at=st.integers(0, 3).map(float),
)
IDS = st.builds(measurement_id, st.sampled_from(DIGESTS), st.sampled_from(NODES))


def latest(records: list[MeasurementRecord], digest: str, kind: str) -> MeasurementRecord | None:
    alike = [m for m in records if m.manifest_digest == digest and m.hardware_class == kind and kind and not m.failure]
    return max(alike, key=lambda m: (m.measured_at, m.node_id), default=None)


@given(st.lists(RECORDS | IDS, max_size=30))
def test_it_answers_as_a_search_through_all_whatever_was_put_and_removed(steps: list[MeasurementRecord | str]) -> None:
    index, held = MeasurementIndex(), dict[str, MeasurementRecord]()
    for step in steps:
        if isinstance(step, str):
            index.remove(step)
            held.pop(step, None)
        else:
            index.put(step)
            held[measurement_id(step.manifest_digest, step.node_id)] = step
        assert sorted(index, key=repr) == sorted(held.values(), key=repr)
        assert len(index) == len(held)
        for digest in DIGESTS:
            for node_id in NODES:
                assert index.of_node(digest, node_id) == held.get(measurement_id(digest, node_id))
            for kind in CLASSES:
                assert index.of_class(digest, kind) == latest(list(held.values()), digest, kind)
                alike = [m for m in held.values() if m.manifest_digest == digest and m.hardware_class == kind and kind]
                assert index.failures_in(digest, kind) == sum(bool(m.failure) for m in alike)


@given(st.lists(RECORDS, unique_by=lambda m: (m.manifest_digest, m.node_id)), st.randoms(use_true_random=False))
def test_the_order_in_which_records_come_does_not_matter(records: list[MeasurementRecord], rng: Random) -> None:
    shuffled = list(records)
    rng.shuffle(shuffled)
    first, second = MeasurementIndex(records), MeasurementIndex(shuffled)
    assert all(first.of_class(digest, kind) == second.of_class(digest, kind) for digest in DIGESTS for kind in CLASSES)
