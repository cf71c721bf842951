"""The learning rate's cycle is torch's own, to the last bit."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from littoral_cloud.training.one_cycle import one_cycle


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 10, 33, 999])
@pytest.mark.parametrize("peak", [4e-3, 0.37])
def test_each_step_has_the_rate_and_the_moment_that_torchs_schedule_gives(steps: int, peak: float) -> None:
    optimiser = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=peak)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps + 1)
    group = optimiser.param_groups[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # its optimiser never steps
        for step in range(1, steps + 1):
            assert one_cycle(step, steps, peak) == (group["lr"], group["betas"][0])
            theirs.step()
