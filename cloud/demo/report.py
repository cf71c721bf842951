"""out/demo/report.json: what was measured, and whether it is what was promised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from cloud.demo.scenario import Promises


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

    `accuracy_before`, `_during`, `_after` were counted on the live stream of the drifted nodes. The others are of the
    served (quantized) artifacts on the whole test set: first student against the one after the rounds.
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
    waves: tuple[tuple[str, ...], ...]  # node names, wave by wave, as far as it went
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    teacher: TeacherRow
    students: Sequence[StudentRow]
    nodes: Sequence[NodeRow]
    drift: DriftRow
    federation: FederationRow
    rollouts: Sequence[RolloutRow]
    seconds: float
    load_average: float = math.nan  # largest one-minute average while candidates were measured
    audit: Mapping[str, Any] = field(default_factory=dict)
    checks: Mapping[str, bool] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Atomically. A figure that was never measured is written as null."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        draft.write_bytes(orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2))
        draft.replace(path)


def broken_promises(report: Report, promises: Promises) -> dict[str, str]:
    """What did not hold, by name, in words with the figures; empty: everything did."""
    broken: dict[str, str] = {}

    def must(name: str, held: bool, words: str) -> None:
        if not held:
            broken[name] = words

    teacher, drift = report.teacher, report.drift
    must(
        "teacher",
        teacher.accuracy >= promises.teacher_accuracy,
        f"teacher reached {teacher.accuracy:.2%}, wanted {promises.teacher_accuracy:.2%}",
    )
    best = max((s.accuracy for s in report.students), default=0.0)
    must(
        "best-student",
        teacher.accuracy - best <= promises.best_student_gap,
        f"best student {best:.2%} is more than {promises.best_student_gap:.1%} below the teacher's {teacher.accuracy:.2%}",
    )
    small = max((s.accuracy for s in report.students if s.bytes <= promises.smallest_bytes), default=0.0)
    must(
        "small-student",
        small >= promises.smallest_accuracy,
        f"best student of at most {promises.smallest_bytes:,} bytes has {small:.2%}, wanted {promises.smallest_accuracy:.0%}",
    )
    hidden = [s.name for s in report.students if s.worst_class is None or s.worst_class not in s.class_accuracy.values()]
    must("worst-class", not hidden, f"the accuracy of each class was not measured: {', '.join(hidden)}")
    must("architectures", len({s.architecture for s in report.students}) >= 2, "students of fewer than two architectures")
    unfit = [n.name for n in report.nodes if not n.fits]
    must("budgets", not unfit, f"outside the budget as measured: {', '.join(unfit)}")
    heavy = [f"{n.name} {n.rss_bytes / 1e6:.0f} MB" for n in report.nodes if n.rss_bytes >= promises.agent_rss_bytes]
    must("agent-memory", not heavy, f"agents over {promises.agent_rss_bytes / 1e6:.0f} MB: {', '.join(heavy)}")
    failed = sum(n.failed_requests for n in report.nodes)
    must("requests", failed == 0, f"{failed} inference requests failed")
    idle = [n.name for n in report.nodes if n.requests == 0]
    must("stream", not idle, f"never answered a request: {', '.join(idle)}")
    must(
        "drift-detected",
        set(drift.detected) == set(drift.injected),
        f"drift injected on {sorted(drift.injected)}, detected on {sorted(drift.detected)}",
    )
    gain = drift.served_drifted_after - drift.served_drifted_before
    must(
        "drift-recovered",
        gain >= promises.drift_gain,
        f"accuracy on drifted inputs rose by {gain:.1%}, wanted {promises.drift_gain:.0%}",
    )
    loss = drift.served_clean_before - drift.served_clean_after
    must(
        "clean-kept",
        loss <= promises.clean_loss,
        f"accuracy on clean inputs fell by {loss:.2%}, at most {promises.clean_loss:.1%}",
    )
    must(
        "rounds",
        len(report.federation.seconds_per_round) == report.federation.rounds,
        f"{len(report.federation.seconds_per_round)} of {report.federation.rounds} rounds finished",
    )
    bad = next((r for r in report.rollouts if r.kind == "bad"), None)
    must(
        "bad-release",
        bad is not None and bad.state == "ROLLED_BACK" and sum(len(wave) for wave in bad.waves) == 1,
        f"the bad release ended as {bad}",
    )
    good = [r for r in report.rollouts if r.kind != "bad"]
    must(
        "rollouts",
        len(good) >= 2 and all(r.state == "SUCCEEDED" for r in good),
        "a good release was not promoted: " + "; ".join(f"{r.release} {r.state} {r.reason}" for r in good),
    )
    must("audit", bool(report.audit.get("intact")), "the audit trail's chain is broken")
    return broken
