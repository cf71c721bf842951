"""Whether a noisy series grows."""

from __future__ import annotations

import random

import pytest

from bench.fleet.trend import trend


def series(growth_pct_an_hour: float, *, wild: bool = False) -> list[tuple[float, float]]:
    rng = random.Random(1)
    return [
        (float(at), 100 + growth_pct_an_hour * at / 3_600 + rng.gauss(0, 1) + (40 if wild and at % 97 == 0 else 0))
        for at in range(300, 1_800)
    ]


@pytest.mark.parametrize("growth", [0.0, 1.0, 10.0])
def test_the_interval_holds_what_grew(growth: float) -> None:
    for wild in (False, True):
        found = trend(series(growth, wild=wild))
        assert found.low < growth < found.high
        assert found.high - found.low < 2.0
        assert found.slope == pytest.approx(growth, abs=0.6)


def test_too_short_a_time_has_no_trend() -> None:
    with pytest.raises(ValueError, match="2 points"):
        trend(series(0.0)[:120])
