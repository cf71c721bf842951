"""Chooses the best student inside a budget on this machine, as a rollout does for each node.

best = choose(make_students(data, recipe).packaged, data, "artifact<=20KB,p95<=2ms")
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from littoral.budget import Budget, Measured, best_fit
from littoral.digest import digest_of
from littoral.errors import BadInput
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.packaging.latency import Latency, compare
from littoral_cloud.packaging.package import Packaged, exported_of
from littoral_cloud.search.state import check_budget

EACH = 100
"""Inferences in one turn."""


def choose(students: Sequence[Packaged], data: Dataset, budget: Budget | str) -> Packaged:
    """The most accurate student inside the budget, with latencies of this machine; ties as littoral.budget.best_fit decides.

    Raises:
        BadInput: the budget is wrong, or bounds what only a node can measure. NoFit: none is inside; names the limit that binds.
        RuntimeFailure: a student does not run.
    """
    limits = Budget.parse(budget) if isinstance(budget, str) else budget
    check_budget(limits)
    candidates = measured(students, data)
    return students[candidates.index(best_fit(candidates, limits))]


def measured(
    students: Sequence[Packaged],
    data: Dataset,
    *,
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Measured]:
    """Each student's figures from its manifest and its latency here, timed in turns with the others; in the given order.

    The digest is that of the unsigned manifest. Memory is not measured here and is 0.

    Raises BadInput where there is no student or two have the same name; RuntimeFailure.
    """
    exports = {s.manifest.name: exported_of(s) for s in students}
    if len(exports) != len(students):
        raise BadInput("students: two have the same name", hint="give each a name of its own")
    prepared = students[0].manifest.input.prepare(data.test_x[:EACH]) if students else data.test_x[:0]
    latency = compare(exports, prepared, rounds=rounds, each=EACH, clock=clock)
    return [figures_of(student, latency[student.manifest.name]) for student in students]


def figures_of(student: Packaged, latency: Latency | None = None) -> Measured:
    """What its manifest says of a student, for a budget; `latency` None: not measured, and 0."""
    manifest = student.manifest
    label, worst = manifest.worst_class or ("", None)
    return Measured(
        manifest_digest=digest_of(manifest.encode()),
        name=manifest.name,
        runtime=manifest.runtime,
        accuracy=manifest.accuracy,
        artifact_bytes=manifest.artifact_bytes,
        latency_ms=latency.p95_ms if latency else 0.0,
        peak_rss_bytes=0,
        samples=latency.inferences if latency else 1,
        worst_class=worst,
        worst_label=label,
        metric=manifest.metric,
    )
