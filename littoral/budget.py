"""What a node may spend, what a candidate was measured to cost, and the choice between them: pure functions.

Accuracy is a fraction in 0..1; sizes are bytes (KB = 1,000 bytes); times are milliseconds; energy is millijoules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any

from littoral.errors import BadInput, NoFit

_UNITS: dict[str, tuple[str, dict[str, float]]] = {
    "artifact": ("artifact_bytes", {"": 1, "b": 1, "kb": 1_000, "mb": 1_000_000, "kib": 1_024, "mib": 1_048_576}),
    "rss": ("peak_rss_bytes", {"": 1, "b": 1, "kb": 1_000, "mb": 1_000_000, "kib": 1_024, "mib": 1_048_576}),
    "p95": ("latency_ms", {"": 1, "ms": 1, "us": 0.001, "s": 1_000}),
    "energy": ("energy_mj", {"": 1, "mj": 1, "uj": 0.001, "j": 1_000}),
}
_TERM = re.compile(r"\s*([a-z0-9]+)\s*<=\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*")


@dataclass(frozen=True, slots=True)
class Budget:
    """What one node may spend on one model. None means unbounded; `runtimes` empty means every one it has."""

    latency_ms: float | None = None  # p95, batch 1, measured on the node
    artifact_bytes: int | None = None  # sum of the artifact's files
    peak_rss_bytes: int | None = None  # added to the process
    energy_mj: float | None = None  # per inference
    runtimes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Reads `artifact<=20KB,p95<=2ms,rss<=8MB,energy<=1mJ,runtime=ncnn`; "" bounds nothing.

        Raises BadInput, naming the term and what is known.
        """
        budget = cls()
        for term in [part.strip() for part in text.split(",") if part.strip()]:
            if term.startswith("runtime="):
                budget = replace(budget, runtimes=(*budget.runtimes, term.removeprefix("runtime=").strip()))
                continue
            match = _TERM.fullmatch(term)
            if match is None or match[1] not in _UNITS:
                raise BadInput(
                    f"budget: {term!r} is not a limit",
                    hint=f"write NAME<=NUMBER UNIT with NAME one of {', '.join(_UNITS)}, or runtime=NAME",
                )
            field, units = _UNITS[match[1]]
            if match[3].lower() not in units:
                raise BadInput(f"budget: unknown unit {match[3]!r} in {term!r}", hint=f"one of {', '.join(filter(None, units))}")
            value = float(match[2]) * units[match[3].lower()]
            limit: dict[str, Any] = {field: round(value) if field.endswith("_bytes") else value}
            budget = replace(budget, **limit)
        return budget

    def __str__(self) -> str:
        terms = []
        if self.artifact_bytes is not None:
            terms.append(f"artifact<={self.artifact_bytes}B")
        if self.latency_ms is not None:
            terms.append(f"p95<={_digits(self.latency_ms)}ms")
        if self.peak_rss_bytes is not None:
            terms.append(f"rss<={self.peak_rss_bytes}B")
        if self.energy_mj is not None:
            terms.append(f"energy<={_digits(self.energy_mj)}mJ")
        terms += [f"runtime={name}" for name in self.runtimes]
        return ",".join(terms)


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
    energy_mj: float | None = None  # None: not measurable there; binds nobody


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that kept a candidate out. `ratio` is measured / allowed; infinite for a runtime that is not wanted."""

    limit: str
    measured: float | str
    allowed: float | str
    ratio: float

    def __str__(self) -> str:
        return f"{self.limit}: {self.measured} is over {self.allowed}"


def excesses(candidate: Measured, budget: Budget) -> tuple[Excess, ...]:
    """Every limit of the budget that the candidate breaks; empty: it fits."""
    over = []
    if budget.runtimes and candidate.runtime not in budget.runtimes:
        over.append(Excess("runtime", candidate.runtime, "/".join(budget.runtimes), float("inf")))
    for limit in (f.name for f in fields(Budget) if f.name != "runtimes"):
        allowed, measured = getattr(budget, limit), getattr(candidate, limit)
        if allowed is not None and measured is not None and measured > allowed:
            over.append(Excess(limit, measured, allowed, measured / allowed if allowed else float("inf")))
    return tuple(over)


def best_fit(candidates: Sequence[Measured], budget: Budget) -> Measured:
    """The most accurate candidate inside the budget; ties go to the faster, then the smaller, then the lower digest.

    Raises NoFit, naming the limit that binds the candidate which comes nearest.
    """
    fitting = [c for c in candidates if not excesses(c, budget)]
    if fitting:
        return min(fitting, key=lambda c: (-c.accuracy, c.latency_ms, c.artifact_bytes, c.manifest_digest))
    if not candidates:
        raise NoFit("no candidate was measured", hint="measure candidates on this node first")
    nearest = min(candidates, key=lambda c: (max(e.ratio for e in excesses(c, budget)), c.manifest_digest))
    tightest = max(excesses(nearest, budget), key=lambda e: e.ratio)
    raise NoFit(f"none of {len(candidates)} candidates is inside {budget}; nearest is {nearest.name}, {tightest}")
