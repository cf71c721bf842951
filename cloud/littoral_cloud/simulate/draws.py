"""The same scenario many times, each with another seed: quantiles, and how often something happened. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from littoral_cloud.simulate.outcome import STOPPED, FleetOutcome, RolloutOutcome

QUANTILES = (0.5, 0.9, 0.99, 1.0)
_Z = 1.959964  # of the normal distribution, for 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedRate:
    """`count` of `of` draws; `low` and `high`: Wilson's 95 % interval of the probability (E. B. Wilson, JASA 22, 1927)."""

    count: int
    of: int
    low: float
    high: float

    @classmethod
    def observed(cls, hits: Sequence[bool]) -> ObservedRate:
        count, of = sum(hits), len(hits)
        share, z2 = count / of, _Z * _Z / of
        middle, half = (share + z2 / 2) / (1 + z2), _Z * math.sqrt(share * (1 - share) / of + z2 / (4 * of)) / (1 + z2)
        low = 0.0 if count == 0 else middle - half
        high = 1.0 if count == of else middle + half
        return cls(count=count, of=of, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutDraws:
    """One rollout of the scenario over all draws. Values by quantile: "0.5", "0.9", "0.99", "1" (the largest). Times are seconds;
    of a draw that did not come to it, infinite, which is None here."""

    rollout: str
    artifacts: tuple[str, ...]
    bad: bool
    stopped: ObservedRate
    false_stops: ObservedRate
    missed: ObservedRate
    exposed: dict[str, float | None]
    exposed_share: dict[str, float | None]
    exposed_hours: dict[str, float | None]
    lasted_s: dict[str, float | None]
    half_s: dict[str, float | None]
    most_s: dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetDraws:
    draws: int
    seeds: tuple[int, int]  # the first and the last
    nodes: int
    rollouts: tuple[RolloutDraws, ...]
    artifact_bytes: dict[str, float | None]
    messages_up_bytes: dict[str, float | None]
    messages_down_bytes: dict[str, float | None]


def summed_up(outcomes: Sequence[FleetOutcome]) -> FleetDraws:
    """Args:
    outcomes: of one scenario, at least one.
    """
    ids = dict.fromkeys(each.rollout for outcome in outcomes for each in outcome.rollouts)
    return FleetDraws(
        draws=len(outcomes),
        seeds=(outcomes[0].seed, outcomes[-1].seed),
        nodes=outcomes[0].nodes,
        rollouts=tuple(_rollout([each for outcome in outcomes for each in outcome.rollouts if each.rollout == id]) for id in ids),
        artifact_bytes=_quantiles([each.artifact_bytes for each in outcomes]),
        messages_up_bytes=_quantiles([each.messages_up_bytes for each in outcomes]),
        messages_down_bytes=_quantiles([each.messages_down_bytes for each in outcomes]),
    )


def _rollout(found: Sequence[RolloutOutcome]) -> RolloutDraws:
    def over(value: Callable[[RolloutOutcome], float | None]) -> dict[str, float | None]:
        return _quantiles([math.inf if (each := value(outcome)) is None else each for outcome in found])

    first = found[0]
    return RolloutDraws(
        rollout=first.rollout,
        artifacts=first.artifacts,
        bad=first.bad,
        stopped=ObservedRate.observed([each.state in STOPPED for each in found]),
        false_stops=ObservedRate.observed([each.false_stop for each in found]),
        missed=ObservedRate.observed([each.missed for each in found]),
        exposed=over(lambda each: each.exposed),
        exposed_share=over(lambda each: each.exposed_share),
        exposed_hours=over(lambda each: each.exposed_hours),
        lasted_s=over(lambda each: each.lasted_s),
        half_s=over(lambda each: each.half_s),
        most_s=over(lambda each: each.most_s),
    )


def _quantiles(values: Sequence[float]) -> dict[str, float | None]:
    """The smallest value that so large a part of them does not exceed."""
    found = np.quantile(np.asarray(values, float), QUANTILES, method="inverted_cdf")
    return {f"{q:g}": float(value) if math.isfinite(value) else None for q, value in zip(QUANTILES, found, strict=True)}
