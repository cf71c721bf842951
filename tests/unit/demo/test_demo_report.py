"""The demo's promises about the accuracy of each class."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from cloud.demo.report import DriftRow, FederationRow, Report, StudentRow, TeacherRow, broken_promises
from cloud.demo.scenario import Promises

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
