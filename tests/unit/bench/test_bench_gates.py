"""The simulated rollouts of bench.gates: what is bad is stopped early, what is good comes to its end."""

from __future__ import annotations

import numpy as np
import pytest

from bench.gates import GOOD, TRIALS, simulated

NODES = 600


@pytest.mark.parametrize("trial", [trial for trial in TRIALS if trial.named], ids=lambda trial: trial.gate)
def test_a_bad_release_is_stopped_in_the_first_wave_and_a_good_one_is_not(trial) -> None:  # type: ignore[no-untyped-def]
    bad = simulated(trial, trial.bad, NODES, np.random.default_rng(1))
    good = simulated(trial, GOOD, NODES, np.random.default_rng(1))
    assert bad.exposed == trial.waves[0]
    assert bad.stopped_by
    assert (good.stopped_by, good.exposed) == ((), NODES)
    assert bad.minutes < 10.0 < good.minutes
