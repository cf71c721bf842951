"""The demo's promises about the accuracy of each class."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from littoral.budget import Budget
from littoral.errors import BadInput
from littoral_cloud.demo.participants import MACHINES, OWN, PROMISES, QUICK, Promises
from littoral_cloud.demo.report import DriftRow, FederationRow, Report, StudentRow, TeacherRow, broken_promises, left_out
from littoral_cloud.demo.settings import own, own_machines
from tests.kit.shapes import shape_arrays

STUDENT = StudentRow(
    name="s-onnx",
    architecture="compact_cnn",
    runtime="onnxruntime",
    accuracy=0.98,
    bytes=1,
    parameters=1,
    digest="d",
    parent="p",
    worst_label="8",
    worst_class=0.95,
    class_accuracy={"3": 0.99, "8": 0.95},
)


def report(student: StudentRow) -> Report:
    return Report(
        teacher=TeacherRow(0.99, 1, 1.0),
        students=[student],
        nodes=[],
        drift=DriftRow((), (), 1.0, 1.0, 1.0),
        federation=FederationRow("fedavg", 0, (), (), 0, 0),
        rollouts=[],
        seconds=1.0,
    )


def test_each_student_must_show_every_class_and_its_worst() -> None:
    assert "worst-class" not in broken_promises(report(STUDENT), Promises())
    for hidden in (replace(STUDENT, worst_class=None), replace(STUDENT, class_accuracy={})):
        assert broken_promises(report(hidden), Promises())["worst-class"].endswith("s-onnx")


def test_the_written_report_has_the_worst_class_and_all_others(tmp_path: Path) -> None:
    report(STUDENT).write(tmp_path / "report.json")
    [row] = json.loads((tmp_path / "report.json").read_text())["students"]
    assert (row["worst_label"], row["worst_class"], row["class_accuracy"]) == ("8", 0.95, {"3": 0.99, "8": 0.95})


def test_what_does_not_apply_is_left_out_and_named_and_nothing_else_is() -> None:
    low = replace(report(STUDENT), teacher=TeacherRow(0.5, 1, 1.0))
    assert {"teacher", "small-student"} <= set(broken_promises(replace(low, students=[]), PROMISES))
    broken, left = broken_promises(low, OWN), left_out(low, OWN)
    assert set(left) == {"teacher", "best-student", "small-student", "drift-recovered", "clean-accuracy", "agent-memory"}
    assert set(broken) == {"architectures", "bad-release", "rollouts", "audit"}
    quick = replace(low, drift=None, federation=None)
    assert set(left_out(quick, QUICK)) == {"drift-detected", "drift-recovered", "clean-accuracy", "rounds"}
    assert "teacher" in broken_promises(quick, QUICK)


def test_a_bad_release_is_no_test_of_students_that_learnt_nothing() -> None:
    blank = report(replace(STUDENT, remarks=("learnt nothing: ...",)))
    assert "bad-release" in left_out(blank, PROMISES)
    assert "bad-release" not in broken_promises(blank, PROMISES)


@pytest.mark.parametrize("sizes", [[160_000, 44_000, 80_000, 13_840], [5_000], [90, 100]])
def test_budgets_for_unknown_data_are_shares_of_the_largest_that_some_student_meets(sizes: list[int]) -> None:
    machines = own_machines(sizes, quick=False)
    assert [machine.name for machine in machines] == [machine.name for machine in MACHINES]
    for machine in machines:
        limit = Budget.parse(machine.budget).artifact_bytes
        assert limit is None or any(size <= limit for size in sizes)
    assert [machine.name for machine in own_machines(sizes, quick=True)] == ["gateway", "meter"]


@pytest.mark.parametrize(("each", "held", "judged"), [(300, 24, True), (50, 20, True), (20, 8, False)])
def test_of_each_class_as_many_images_go_to_the_nodes_as_they_need_to_judge(
    tmp_path: Path, each: int, held: int, judged: bool
) -> None:
    x, y = shape_arrays(each, size=12)
    np.savez(tmp_path / "shapes.npz", x=x, y=y)
    settings = own(tmp_path / "shapes.npz", quick=True)
    assert np.bincount(settings.held_back.y).tolist() == [held] * 3
    assert len(settings.dataset.train_y) + 3 * held == each * 3 * 4 // 5
    assert ("bad-release" in settings.left_out) != judged
    if each == 20:
        with pytest.raises(BadInput, match="48 training images, of which 24 go to 4 nodes"):
            own(tmp_path / "shapes.npz", quick=False)
