"""out/demo/report.json: the figures of a demo, and whether they keep its promises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from littoral_cloud.demo.participants import Promises
from littoral_cloud.trust.files import write_atomically


@dataclass(frozen=True, slots=True)
class TeacherRow:
    accuracy: float
    parameters: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StudentRow:
    name: str
    architecture: str
    runtime: str
    accuracy: float
    bytes: int
    parameters: int
    digest: str
    parent: str
    worst_label: str = ""  # the class that it is worst at
    worst_class: float | None = None  # and its accuracy
    class_accuracy: Mapping[str, float] = field(default_factory=dict)  # by label
    remarks: tuple[str, ...] = ()  # of its manifest


@dataclass(frozen=True, slots=True)
class NodeRow:
    name: str
    runtime: str
    student: str
    p50_ms: float
    p95_ms: float
    rss_bytes: int  # the agent's own process, the largest seen while it served
    budget: str
    fits: bool
    requests: int
    failed_requests: int


@dataclass(frozen=True, slots=True)
class DriftRow:
    """Accuracies are fractions, of the model that the drifted nodes served at that time.

    `accuracy_before`, `_during`, `_after` come from the live streams of the drifted nodes. The others measure the served
    (quantized) artifacts on the whole test set, before the rounds and after them.
    """

    injected: tuple[str, ...]
    detected: tuple[str, ...]
    accuracy_before: float
    accuracy_during: float
    accuracy_after: float
    served_drifted_before: float = math.nan
    served_drifted_after: float = math.nan
    served_clean_before: float = math.nan
    served_clean_after: float = math.nan


@dataclass(frozen=True, slots=True)
class FederationRow:
    strategy: str
    rounds: int
    seconds_per_round: tuple[float, ...]
    participants: tuple[str, ...]
    bytes_down: int
    bytes_up: int


@dataclass(frozen=True, slots=True)
class RolloutRow:
    release: str
    kind: str
    waves: tuple[tuple[str, ...], ...]  # node names, wave by wave; only waves that started
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    teacher: TeacherRow
    students: Sequence[StudentRow]
    nodes: Sequence[NodeRow]
    drift: DriftRow | None  # None: no drift, and so no rounds
    federation: FederationRow | None
    rollouts: Sequence[RolloutRow]
    seconds: float
    load_average: float = math.nan  # largest one-minute average while candidates were measured
    audit: Mapping[str, Any] = field(default_factory=dict)
    checks: Mapping[str, bool] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)  # checks that do not apply, and why

    def write(self, path: Path) -> None:
        """Writes the file atomically. A figure that was never measured is null."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2))


def left_out(report: Report, promises: Promises) -> dict[str, str]:
    """By name, the checks that do not apply to this demo, and why."""
    of_mnist = {
        "teacher": promises.teacher_accuracy,
        "best-student": promises.best_student_gap,
        "small-student": promises.smallest_accuracy,
        "drift-recovered": promises.drift_gain,
        "clean-accuracy": promises.clean_loss,
        "agent-memory": promises.agent_rss_bytes,
    }
    out = dict.fromkeys((name for name, limit in of_mnist.items() if limit is None), "its figure holds for MNIST alone")
    if report.drift is None:
        out |= dict.fromkeys(
            ("drift-detected", "drift-recovered", "clean-accuracy", "rounds"), "quick: no drift, no federated rounds"
        )
    if report.students and all(student.remarks for student in report.students):
        out["bad-release"] = "the students learnt nothing, and corrupted ones are no worse"
    return out


def broken_promises(report: Report, promises: Promises) -> dict[str, str]:
    """By name, the promises that were broken, in words with the figures; empty where none was."""
    found = {**_of_students(report, promises), **_of_nodes(report, promises), **_of_learning(report, promises), **_of_all(report)}
    out = left_out(report, promises)
    return {name: words for name, words in found.items() if words and name not in out}


def _of_students(report: Report, promises: Promises) -> dict[str, str]:
    teacher, wanted, gap = report.teacher, promises.teacher_accuracy or 0.0, promises.best_student_gap or 0.0
    best = max((s.accuracy for s in report.students), default=0.0)
    small = max((s.accuracy for s in report.students if s.bytes <= promises.smallest_bytes), default=0.0)
    least = promises.smallest_accuracy or 0.0
    hidden = [s.name for s in report.students if s.worst_class is None or s.worst_class not in s.class_accuracy.values()]
    return {
        "teacher": _unless(teacher.accuracy >= wanted, f"teacher reached {teacher.accuracy:.2%}, wanted {wanted:.2%}"),
        "best-student": _unless(
            teacher.accuracy - best <= gap,
            f"best student {best:.2%} is more than {gap:.1%} below the teacher's {teacher.accuracy:.2%}",
        ),
        "small-student": _unless(
            small >= least, f"best student of at most {promises.smallest_bytes:,} bytes has {small:.2%}, wanted {least:.0%}"
        ),
        "worst-class": _unless(not hidden, f"the accuracy of each class was not measured: {', '.join(hidden)}"),
        "architectures": _unless(len({s.architecture for s in report.students}) >= 2, "students of fewer than two architectures"),
    }


def _of_nodes(report: Report, promises: Promises) -> dict[str, str]:
    unfit = [n.name for n in report.nodes if not n.fits]
    most = promises.agent_rss_bytes or 0
    heavy = [f"{n.name} {n.rss_bytes / 1e6:.0f} MB" for n in report.nodes if n.rss_bytes >= most]
    failed = sum(n.failed_requests for n in report.nodes)
    idle = [n.name for n in report.nodes if n.requests == 0]
    return {
        "budgets": _unless(not unfit, f"outside the budget as measured: {', '.join(unfit)}"),
        "agent-memory": _unless(not heavy, f"agents over {most / 1e6:.0f} MB: {', '.join(heavy)}"),
        "requests": _unless(failed == 0, f"{failed} inference requests failed"),
        "stream": _unless(not idle, f"never answered a request: {', '.join(idle)}"),
    }


def _of_learning(report: Report, promises: Promises) -> dict[str, str]:
    drift, federation = report.drift, report.federation
    if drift is None or federation is None:
        return {}
    gain, loss = drift.served_drifted_after - drift.served_drifted_before, drift.served_clean_before - drift.served_clean_after
    wanted, most = promises.drift_gain or 0.0, promises.clean_loss or 0.0
    done = len(federation.seconds_per_round)
    return {
        "drift-detected": _unless(
            set(drift.detected) == set(drift.injected),
            f"drift injected on {sorted(drift.injected)}, detected on {sorted(drift.detected)}",
        ),
        "drift-recovered": _unless(gain >= wanted, f"accuracy on drifted inputs rose by {gain:.1%}, wanted {wanted:.0%}"),
        "clean-accuracy": _unless(loss <= most, f"accuracy on clean inputs fell by {loss:.2%}, at most {most:.1%}"),
        "rounds": _unless(done == federation.rounds, f"{done} of {federation.rounds} rounds finished"),
    }


def _of_all(report: Report) -> dict[str, str]:
    bad = next((r for r in report.rollouts if r.kind == "bad"), None)
    stopped = bad is not None and bad.state == "ROLLED_BACK" and sum(len(wave) for wave in bad.waves) == 1
    good = [r for r in report.rollouts if r.kind != "bad"]
    promoted = len(good) >= (1 if report.federation is None else 2) and all(r.state == "SUCCEEDED" for r in good)
    ends = "; ".join(f"{r.release} {r.state} {r.reason}" for r in good)
    return {
        "bad-release": _unless(stopped, f"the bad release ended as {bad}"),
        "rollouts": _unless(promoted, f"a good release was not promoted: {ends}"),
        "audit": _unless(bool(report.audit.get("intact")), "the audit trail's chain is broken"),
    }


def _unless(passed: bool, text: str) -> str:
    return "" if passed else text
