"""The learning rate over a training: one cycle of it, and of the momentum (AdamW's first moment) against it.

L. N. Smith, N. Topin: Super-Convergence, 2017, https://arxiv.org/abs/1708.07120. It rises to its peak over the first 30 % of the
steps and falls to next to nothing over the rest, both as half a cosine; the moment's decay goes the other way. To the last bit
what torch.optim.lr_scheduler.OneCycleLR gives, which takes as long as a tenth of a small network's step; and as a step's rate
follows from its number alone, there is no state to keep.
"""

from __future__ import annotations

import math

_RISE = 0.3  # of the steps
_BEGIN, _END = 25.0, 1e4  # the first rate is the peak over this, the last one the first over that
_LOW, _HIGH = 0.85, 0.95  # of the moment's decay: low where the rate is high


def one_cycle(step: int, steps: int, peak: float) -> tuple[float, float]:
    """(learning rate, decay of the first moment) of a step from 1 to `steps`."""
    first = peak / _BEGIN
    top = _RISE * (steps + 1) - 1
    done = step - 1
    if done <= top:
        share = done / top
        return _between(first, peak, share), _between(_HIGH, _LOW, share)
    share = (done - top) / (steps - top)
    return _between(peak, first / _END, share), _between(_LOW, _HIGH, share)


def _between(begin: float, end: float, share: float) -> float:
    return end + (begin - end) / 2.0 * (math.cos(math.pi * share) + 1)
