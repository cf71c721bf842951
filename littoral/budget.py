"""What a node may spend, what a candidate was measured to cost, and the choice between them: pure functions.

Accuracy is a fraction in 0..1; sizes are bytes (KB = 1,000 bytes); times are milliseconds; energy is millijoules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from littoral.errors import BadInput, NoFit
from littoral.metric import Metric, score_of

ESTIMATE = "estimate"
"""Source of an energy figure that is an estimate from processor time: no limit binds it."""

_BYTES = {"": "1", "b": "1", "kb": "1e3", "mb": "1e6", "kib": "1024", "mib": "1048576"}
_UNITS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "artifact": ("artifact_bytes", "<=", "B", _BYTES),
    "p95": ("latency_ms", "<=", "ms", {"": "1", "ms": "1", "us": "1e-3", "s": "1e3"}),
    "rss": ("peak_rss_bytes", "<=", "B", _BYTES),
    "energy": ("energy_mj", "<=", "mJ", {"": "1", "mj": "1", "uj": "1e-3", "j": "1e3"}),
    "worst": ("worst_class", ">=", "", {"": "1", "%": "1e-2"}),
    "disk": ("disk_bytes", "<=", "B", _BYTES),
}
"""By the name that an operator writes: the field, the direction of the bound, the field's unit, and all units."""
_COSTS = ("latency_ms", "artifact_bytes", "peak_rss_bytes", "energy_mj")
"""The fields that are measured costs of one candidate."""

_TERM = re.compile(r"\s*([a-z0-9]+)\s*([<>]=)\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z%]*)\s*")


@dataclass(frozen=True, slots=True)
class Budget:
    """What one node may spend on one model. None means unbounded; `runtimes` empty means every one it has."""

    latency_ms: float | None = None  # p95, batch 1, measured on the node
    artifact_bytes: int | None = None  # sum of the artifact's files
    peak_rss_bytes: int | None = None  # added to the process
    energy_mj: float | None = None  # per inference
    runtimes: tuple[str, ...] = ()
    worst_class: float | None = None  # the least accuracy that the worst class may have; a fraction
    quota: float | None = None  # of what all models of the node may take together; a fraction, see littoral.quota
    disk_bytes: int | None = None  # of all artifacts of the model, retained ones included

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Reads `artifact<=20KB,p95<=2ms,rss<=8MB,energy<=1mJ,worst>=97%,runtime=ncnn,quota=50%,disk<=2MB`; "" bounds nothing.

        Raises BadInput, naming the term and what is known.
        """
        budget = cls()
        for term in [part.strip() for part in text.split(",") if part.strip()]:
            if term.startswith("runtime="):
                budget = replace(budget, runtimes=(*budget.runtimes, term.removeprefix("runtime=").strip()))
                continue
            budget = replace(budget, **(_quota(term) or _limit(term)))
        return budget

    def __str__(self) -> str:
        terms = [
            f"{name}{bound}{_digits(value)}{unit}"
            for name, (field, bound, unit, _) in _UNITS.items()
            if (value := getattr(self, field)) is not None
        ]
        if self.quota is not None:
            terms.append(f"quota={_digits(self.quota)}")
        terms += [f"runtime={name}" for name in self.runtimes]
        return ",".join(terms)


_QUOTA = re.compile(r"\s*quota\s*=\s*([0-9]+(?:\.[0-9]+)?)\s*(%?)\s*")


def _quota(term: str) -> dict[str, Any] | None:
    """{field: value} of a model's quota of its node; None where the term is no quota. Raises BadInput."""
    if (match := _QUOTA.fullmatch(term)) is None:
        if term.startswith("quota"):
            raise BadInput(f"budget: {term!r} is not a quota", hint="write quota=50% or quota=0.5")
        return None
    value = Decimal(match[1]) * (Decimal("0.01") if match[2] else 1)
    if not 0 < value <= 1:
        raise BadInput(f"budget: {term!r} is not between 0 and all", hint="write quota=50% or quota=0.5")
    return {"quota": float(value)}


def _limit(term: str) -> dict[str, Any]:
    """{field: value} of one `NAME<=NUMBER UNIT`. Raises BadInput."""
    match = _TERM.fullmatch(term)
    if match is None or match[1] not in _UNITS or match[2] != _UNITS[match[1]][1]:
        known = ", ".join(f"{name}{bound}" for name, (_, bound, _, _) in _UNITS.items())
        raise BadInput(
            f"budget: {term!r} is not a limit", hint=f"write one of {known} with a number and its unit, or runtime=NAME"
        )
    field, _, _, units = _UNITS[match[1]]
    if match[4].lower() not in units:
        raise BadInput(f"budget: unknown unit {match[4]!r} in {term!r}", hint=f"one of {', '.join(filter(None, units))}")
    value = Decimal(match[3]) * Decimal(units[match[4].lower()])
    if field == "worst_class" and value > 1:
        raise BadInput(f"budget: {term!r} asks for more than all", hint="write worst>=97% or worst>=0.97")
    return {field: round(value) if field.endswith("_bytes") else float(value)}


def _digits(value: float) -> str:
    """All digits and no exponent, so that `Budget.parse` reads it again."""
    return format(Decimal(repr(value)), "f").removesuffix(".0")


@dataclass(frozen=True, slots=True)
class Measured:
    """One candidate as it was measured on one kind of device."""

    manifest_digest: str
    name: str
    runtime: str
    accuracy: float
    artifact_bytes: int
    latency_ms: float  # p95
    peak_rss_bytes: int
    samples: int
    energy_mj: float | None = None  # None: not counted there, so no limit binds it
    worst_class: float | None = None  # accuracy of its worst class; None: not known, and so inside no budget that bounds it
    worst_label: str = ""  # which class that is
    metric: Metric | None = None  # its quality at a task other than classification; None: see accuracy

    @property
    def score(self) -> float:
        """Of two candidates for one task, the better one has the higher score; minus infinity: it was never measured."""
        return score_of(self.accuracy, self.metric, () if self.worst_class is None else (self.worst_class,))


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that excludes a candidate.

    `ratio` is measured / allowed, or allowed / measured for a lower bound; infinite for a runtime that is not allowed and for
    an unknown figure.
    """

    limit: str
    measured: float | str
    allowed: float | str
    ratio: float
    words: str = "is over"

    def __str__(self) -> str:
        return f"{self.limit}: {self.measured} {self.words} {self.allowed}"


def excesses(candidate: Measured, budget: Budget) -> tuple[Excess, ...]:
    """Every limit of the budget that the candidate breaks; empty: it fits."""
    over = []
    if budget.runtimes and candidate.runtime not in budget.runtimes:
        over.append(Excess("runtime", candidate.runtime, "/".join(budget.runtimes), float("inf"), "is not among"))
    for limit in _COSTS:
        allowed, measured = getattr(budget, limit), getattr(candidate, limit)
        if allowed is not None and measured is not None and measured > allowed:
            over.append(Excess(limit, measured, allowed, measured / allowed if allowed else float("inf")))
    if (lost := worst_class_shortfall(candidate.worst_class, candidate.worst_label, budget)) is not None:
        over.append(lost)
    return tuple(over)


def worst_class_shortfall(worst: float | None, label: str, budget: Budget) -> Excess | None:
    """None where the worst class, called `label`, is as accurate as the budget wants, or the budget does not bound it.

    An unmeasured candidate may have lost a class, so it counts as too inaccurate.
    """
    wanted = budget.worst_class
    if wanted is None or (worst is not None and worst >= wanted):
        return None
    if worst is None:
        return Excess("worst_class", "not measured when it was made", wanted, float("inf"), "and wanted at least")
    return Excess("worst_class", f"{worst:.6g} of {label!r}", wanted, wanted / worst if worst else float("inf"), "is under")


ABOUT = 1.05
"""A size up to this many times the smallest counts as about as small."""


def about_as_small(size: int, least: int) -> bool:
    """Whether a size is so close to the smallest that another criterion decides; both in bytes."""
    return size <= ABOUT * least


def latency_bucket(latency_ms: float) -> int:
    """The power of two below a latency. Two in one bucket count as equal, so that noise decides nothing."""
    return math.frexp(latency_ms)[1] if latency_ms > 0 else _INSTANT


_INSTANT = -1100
"""Below the bucket of every float over 0."""


def best_fit(candidates: Sequence[Measured], budget: Budget) -> Measured:
    """The best candidate inside the budget, by its accuracy or its metric. Of equals those about as small as the smallest
    (`about_as_small`); of these the fastest (`latency_bucket`), then the smallest, then by name and digest.

    Raises NoFit, naming the `nearest` candidate and the limit that binds it. BadInput: candidates have different metrics.
    """
    metrics = {
        (c.metric.name, c.metric.higher_is_better) if c.metric else ("accuracy", True) for c in candidates if c.score > -math.inf
    }
    if len(metrics) > 1:
        raise BadInput(
            f"candidates: are measured by {' and '.join(sorted(name for name, _ in metrics))}", hint="compare those of one metric"
        )
    fitting = [c for c in candidates if not excesses(c, budget)]
    if fitting:
        best = max(c.score for c in fitting)
        equals = [c for c in fitting if c.score == best]
        least = min(c.artifact_bytes for c in equals)
        small = [c for c in equals if about_as_small(c.artifact_bytes, least)]
        return min(small, key=lambda c: (latency_bucket(c.latency_ms), c.artifact_bytes, c.name, c.manifest_digest, c.latency_ms))
    if not candidates:
        raise NoFit("no candidate was measured", hint="measure candidates on this node first")
    closest = nearest(candidates, budget)
    tightest = max(excesses(closest, budget), key=lambda e: e.ratio)
    raise NoFit(f"none of {len(candidates)} candidates is inside {budget}; nearest is {closest.name}, {tightest}")


def nearest(candidates: Sequence[Measured], budget: Budget) -> Measured:
    """Of candidates outside the budget the one whose worst excess is the least. Of equals, the one whose
    next worst is the least, or that has none; then the best at its task, the smallest, by name and digest, not input order."""

    def distance(c: Measured) -> tuple[object, ...]:
        ratios = tuple(sorted((e.ratio for e in excesses(c, budget)), reverse=True))
        return (ratios, -c.score, c.artifact_bytes, c.name, c.manifest_digest)

    return min(candidates, key=distance)
