"""Which candidate a node gets, and what is said of the others."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.budget import ESTIMATE, Budget
from littoral.errors import NoFit
from littoral.metric import Metric
from littoral_cloud.fleet.limits import beyond, takes
from littoral_cloud.fleet.measurements import MeasurementIndex, MeasurementRecord
from littoral_cloud.fleet.records import Presence
from littoral_cloud.rollouts.artifact_choice import candidates_for, choose, explain
from tests.kit.rollout_world import MODEL, artifact

LARGE = artifact("large", accuracy=0.99, size=50_000)
SMALL = artifact("small", accuracy=0.97, size=1_000)
NCNN = artifact("ncnn", accuracy=0.98, size=2_000, runtime="ncnn")
ALL = [LARGE, SMALL, NCNN]


def presence(*, budget: Budget | None = None, runtimes: tuple[str, ...] = ("onnxruntime", "ncnn")) -> Presence:
    return Presence(
        connected=True,
        since=0.0,
        boot_id="",
        agent_version="",
        protocol_version=1,
        features=(),
        hardware={},
        hardware_class="c",
        runtimes=runtimes,
        budgets={"": budget or Budget()},
        labelled_examples={},
    )


def measured(
    digest: str, node_id: str = "me", *, p95_ms: float = 1.0, failure: str = "", hardware_class: str = "c", at: float = 1.0
) -> MeasurementRecord:
    return MeasurementRecord(
        manifest_digest=digest,
        node_id=node_id,
        hardware_class=hardware_class,
        failure=failure,
        detail="it fell over" if failure else "",
        p95_ms=p95_ms,
        peak_rss_bytes=1_000,
        samples=100,
        measured_at=at,
    )


EVERY = MeasurementIndex(measured(a.manifest_digest) for a in ALL)


@pytest.mark.parametrize(
    ("requires", "hardware", "words"),
    [
        ({"opset": 18, "ir": 8}, {}, ()),
        ({"opset": 18, "ir": 8}, {"highest_ir": 8, "highest_opset": 18}, ()),
        (
            {"opset": 18, "ir": 9},
            {"highest_ir": 8, "highest_opset": 18},
            ("ir: needs ONNX IR 9, onnxruntime 1.14 on",),
        ),
        ({"opset": 19}, {"highest_ir": 8, "highest_opset": 18}, ("opset: needs ONNX opset 19",)),
        ({"opset": 19, "ir": 9}, {"highest_ir": 8, "highest_opset": 18}, ("ir: needs", "opset: needs")),
        ({"int8_dot": 1}, {"isa": ["avx2", "fma"]}, ("isa: int8 of full range needs VNNI or ARM's dot product",)),
        ({"int8_dot": 1}, {}, ("isa: int8",)),
        ({"int8_dot": 1}, {"isa": ["avx2", "avx_vnni"]}, ()),
        ({"int8_dot": 1}, {"isa": ["asimd", "asimddp"]}, ()),
    ],
    ids=str,
)
def test_nothing_above_what_a_runtime_or_processor_takes_is_offered(
    requires: dict[str, int], hardware: dict[str, Any], words: tuple[str, ...]
) -> None:
    told = dict(hardware)
    isa = told.pop("isa", [])
    here = replace(presence(), hardware={"isa": isa, "runtimes": [{"name": "onnxruntime", "version": "1.14", **told}]})
    new = replace(LARGE, requires=requires)
    found = beyond(new, here)
    assert len(found) == len(words)
    assert all(said.startswith(word) for said, word in zip(found, words, strict=True))
    assert takes(new, here) == (not words)
    assert choose("me", here, [new, SMALL], EVERY, model=MODEL).name == ("small" if words else "large")
    row = next(row for row in explain("me", here, [new, SMALL], EVERY, model=MODEL) if row.name == "large")
    assert row.out == found
    assert words == () or found[0] in row.why_not
    if words:
        with pytest.raises(NoFit, match="large: " + words[0][:3]):
            choose("me", here, [new], EVERY, model=MODEL)


def test_the_most_accurate_inside_the_budget_is_chosen() -> None:
    assert choose("me", presence(), ALL, EVERY, model=MODEL).name == "large"
    assert choose("me", presence(budget=Budget(artifact_bytes=5_000)), ALL, EVERY, model=MODEL).name == "ncnn"
    assert choose("me", presence(runtimes=("ncnn",)), ALL, EVERY, model=MODEL).name == "ncnn"


def test_a_machine_alike_stands_in_where_the_node_measured_nothing() -> None:
    others = [
        measured(LARGE.manifest_digest, "old", p95_ms=9.0, at=1.0),
        measured(LARGE.manifest_digest, "new", p95_ms=3.0, at=2.0),
        measured(LARGE.manifest_digest, "unlike", p95_ms=1.0, at=3.0, hardware_class="d"),
        measured(LARGE.manifest_digest, "broken", failure="runtime-failure", at=4.0),
    ]
    [found] = candidates_for("me", presence(), [LARGE], MeasurementIndex(others))
    assert found.latency_ms == 3.0
    with_own = MeasurementIndex([*others, measured(LARGE.manifest_digest, p95_ms=7.0)])
    [own] = candidates_for("me", presence(), [LARGE], with_own)
    assert own.latency_ms == 7.0


def test_what_failed_on_the_node_itself_is_out_whatever_it_did_elsewhere() -> None:
    records = MeasurementIndex(
        [measured(LARGE.manifest_digest, failure="runtime-failure"), measured(LARGE.manifest_digest, "other")]
    )
    assert candidates_for("me", presence(), [LARGE], records) == []
    with pytest.raises(NoFit, match="large could not be run here: runtime-failure: it fell over"):
        choose("me", presence(), [LARGE], records, model=MODEL)


def test_why_nothing_can_be_chosen_is_said_in_words() -> None:
    with pytest.raises(NoFit, match="the release needs ncnn/onnxruntime, this node has coreml"):
        choose("me", presence(runtimes=("coreml",)), ALL, EVERY, model=MODEL)
    with pytest.raises(NoFit, match="none of 3 candidates was measured"):
        choose("me", presence(), ALL, MeasurementIndex(), model=MODEL)
    with pytest.raises(NoFit, match=r"accuracy: 0\.9900 is under 0\.9950"):
        choose("me", presence(), ALL, EVERY, model=MODEL, floor=0.995)


def test_explain_has_a_row_for_each_candidate_with_every_limit_that_kept_it_out() -> None:
    tight = presence(budget=Budget(artifact_bytes=5_000, latency_ms=0.5), runtimes=("onnxruntime",))
    records = MeasurementIndex([measured(LARGE.manifest_digest), measured(SMALL.manifest_digest, p95_ms=0.4)])
    rows = explain("me", tight, ALL, records, model=MODEL)
    assert [(row.name, row.chosen) for row in rows] == [("large", False), ("ncnn", False), ("small", True)]
    assert rows[0].out == ("latency_ms: 1.0 is over 0.5", "artifact_bytes: 50000 is over 5000")
    assert rows[1].out == ("runtime: ncnn is not on this node",)
    assert rows[1].latency_ms is None
    assert rows[2].out == ()


def test_explain_names_no_winner_where_there_is_none() -> None:
    rows = explain("me", presence(), ALL, MeasurementIndex(), model=MODEL)
    assert not any(row.chosen for row in rows)
    assert all(row.out == ("measurement: there is none of this node or its like",) for row in rows)


def test_a_node_that_bounds_the_worst_class_gets_no_student_that_lost_one() -> None:
    lost = artifact("lost", accuracy=0.99, class_accuracy={"3": 1.0, "8": 0.6})
    even = artifact("even", accuracy=0.97, class_accuracy={"3": 0.975, "8": 0.965})
    unknown = artifact("unknown", accuracy=0.98)
    every = [lost, even, unknown]
    records = MeasurementIndex([measured(a.manifest_digest) for a in every])
    bounded = presence(budget=Budget.parse("worst>=96%"))
    assert choose("me", presence(), every, records, model=MODEL).name == "lost"
    assert choose("me", bounded, every, records, model=MODEL).name == "even"
    rows = {row.name: row for row in explain("me", bounded, every, records, model=MODEL)}
    assert rows["lost"].out == ("worst_class: 0.6 of '8' is under 0.96",)
    assert rows["unknown"].out == ("worst_class: not measured when it was made and wanted at least 0.96",)
    assert (rows["even"].out, rows["even"].chosen) == ((), True)
    assert (rows["even"].worst_class, rows["even"].worst_label, rows["unknown"].worst_class) == (0.965, "8", None)
    with pytest.raises(NoFit, match=r"nearest is even, worst_class: 0\.965 of '8' is under 0\.99"):
        choose("me", presence(budget=Budget.parse("worst>=99%")), every, records, model=MODEL)


def test_of_another_metric_the_best_score_is_chosen_and_a_floor_is_told_in_its_own_figures() -> None:
    coarse, fine = (
        replace(artifact, metric=Metric("rmse", value, False), accuracy=0.0, class_accuracy={}, task="regression")
        for artifact, value in zip(ALL[:2], (2.0, 1.5), strict=True)
    )
    node = presence()
    assert choose("me", node, [coarse, fine], EVERY, model=MODEL).name == fine.name
    with pytest.raises(NoFit, match=r"rmse: 1\.5 is over 1\.2"):
        choose("me", node, [coarse, fine], EVERY, model=MODEL, floor=-1.2)
    rows = explain("me", node, [coarse, fine], EVERY, model=MODEL, floor=-1.8)
    assert [(row.name, row.chosen, row.out) for row in rows] == [
        (fine.name, True, ()),
        (coarse.name, False, ("rmse: 2 is over 1.8",)),
    ]


def test_every_candidate_but_the_chosen_one_says_why_not() -> None:
    same, twin = artifact("same", accuracy=0.99, size=60_000), artifact("twin", accuracy=0.99, size=50_000)
    near = artifact("near", accuracy=0.99, size=49_000)
    every = [*ALL, same, twin, near]
    records = MeasurementIndex(
        [measured(a.manifest_digest, p95_ms=ms) for a, ms in zip(every, (3.0, 1.0, 1.0, 0.1, 3.5, 13.0), strict=True)]
    )
    rows = explain("me", presence(), every, records, model=MODEL)
    assert [(row.name, row.why_not) for row in rows] == [
        ("near", "fits and is as accurate and about as small as large, but slower: 13 ms against 3"),
        ("large", ""),
        ("twin", "fits, and is as accurate and as large as large, which comes first by name"),
        ("same", "fits and is as accurate as large, but larger: 60000 bytes against 50000"),
        ("ncnn", "fits, but large is more accurate: 0.99 against 0.98"),
        ("small", "fits, but large is more accurate: 0.99 against 0.97"),
    ]
    assert [row.chosen for row in rows] == [False, True, False, False, False, False]


def test_whether_a_figure_is_of_the_node_or_of_its_class_is_said() -> None:
    records = MeasurementIndex([measured(LARGE.manifest_digest), measured(SMALL.manifest_digest, "other", p95_ms=2.0)])
    rows = {row.name: row for row in explain("me", presence(), ALL, records, model=MODEL)}
    assert (rows["large"].measured_by, rows["large"].measured_on) == ("this node", "me")
    assert (rows["small"].measured_by, rows["small"].measured_on, rows["small"].latency_ms) == ("its class", "other", 2.0)
    assert (rows["ncnn"].measured_by, rows["ncnn"].p50_ms) == ("", None)


def test_an_energy_limit_is_held_against_what_was_counted_and_against_nothing_else() -> None:
    counted = replace(measured(LARGE.manifest_digest), energy_mj=3.0, energy_source="rapl")
    estimated = replace(measured(NCNN.manifest_digest), energy_mj=3.0, energy_source=ESTIMATE)
    node = presence(budget=Budget.parse("energy<=1mJ"))
    records = MeasurementIndex([counted, estimated, measured(SMALL.manifest_digest)])
    assert choose("me", node, ALL, records, model=MODEL).name == "ncnn"
    rows = {row.name: row for row in explain("me", node, ALL, records, model=MODEL)}
    assert rows["large"].out == ("energy_mj: 3.0 is over 1.0",)
    assert rows["large"].notes == ()
    assert rows["ncnn"].notes == ("energy_mj: is only estimated, 3 mJ there, so the limit of 1 excludes no candidate",)
    assert rows["small"].notes == ("energy_mj: is not known there, so the limit of 1 excludes no candidate",)
    assert explain("me", presence(), ALL, records, model=MODEL)[0].notes == ()


def test_what_is_of_another_release_is_listed_and_not_chosen() -> None:
    rows = explain("me", presence(), ALL, EVERY, model=MODEL, offered={SMALL.manifest_digest}, release="digits-1")
    assert [(row.name, row.chosen) for row in rows] == [("large", False), ("ncnn", False), ("small", True)]
    assert rows[0].why_not == "is not in digits-1, the release that this node follows"
    assert [row.in_release for row in rows] == [False, False, True]


some_artifacts = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from([0.9, 0.95, 0.99]), st.integers(1, 5)), unique_by=lambda t: t[0]
)
some_budgets = st.builds(Budget, artifact_bytes=st.one_of(st.none(), st.integers(1, 5)))


@given(some_artifacts, some_budgets, st.randoms(use_true_random=False))
def test_the_rows_do_not_depend_on_any_order_and_at_most_one_is_chosen(
    made: list[tuple[str, float, int]], budget: Budget, rng: Random
) -> None:
    every = [artifact(name, accuracy=accuracy, size=size) for name, accuracy, size in made]
    records = [measured(a.manifest_digest) for a in every]
    rows = explain("me", presence(budget=budget), every, MeasurementIndex(records), model=MODEL)
    rng.shuffle(every)
    rng.shuffle(records)
    assert explain("me", presence(budget=budget), every, MeasurementIndex(records), model=MODEL) == rows
    assert sum(row.chosen for row in rows) == any(not row.out for row in rows)
    assert all(bool(row.why_not) is not row.chosen for row in rows)
