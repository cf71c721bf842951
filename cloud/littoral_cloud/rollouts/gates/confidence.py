"""How strongly counts speak for a mean above or below a limit, at every look: betting, with a mixture of constant bets.

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", Journal of the Royal Statistical Society B 86
(2024). Values y_1, y_2, ... lie in [0, 1]; a gambler who holds that their mean is above m starts with 1 and bets on each:

    W_n = (1 + b (y_1 - m)) (1 + b (y_2 - m)) ... (1 + b (y_n - m)),  with a bet b from 0 to 1 / m.

Where the mean is m or less, no bet gains on average. So W_n is ever 1 / error or more with a chance of at most `error`, however
often one looks (Ville's inequality). The wealth here is the mean over 16 bets, so that no good one has to be known.

Two properties make it fit for a fleet:

1. With constant bets only the number of each value counts, not the order in which nodes report.
2. The values need not be alike. At any time n at which the average of the means, each given what came before, is at most m, the
   wealth is at most a martingale times exp(b n (average - m)), so at most the martingale. The error holds for the average over
   what was seen, with means that differ from node to node and from hour to hour.

For values that are 0 or 1, a bet is a shift s of the log odds, b = (e^s - 1) / (1 + m (e^s - 1)), and W_n is the supermartingale
exp(s sum - n log(1 + m (e^s - 1))) of Howard et al., Annals of Statistics 49 (2021). It bounds every m at a time: `at_least`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_SHIFTS = tuple(math.expm1(0.01 * (800 ** (step / 15))) for step in range(16))
"""e^s - 1 of shifts from 0.01, for small differences in many values, to 8, for large ones in few: the best is never far."""
_HALVINGS = 30
MOST_MORE = 10_000_000


@dataclass(frozen=True, slots=True)
class Values:
    """`plus` of `count` values are 1, `minus` are -1, the others 0. `signed`: they may be -1. Counts may be fractions."""

    count: float
    plus: float
    minus: float = 0.0
    signed: bool = False

    @property
    def mean(self) -> float:
        return (self.plus - self.minus) / self.count if self.count else 0.0

    @property
    def mirrored(self) -> Values:
        """What is counted the other way round: of shares the misses, of differences their negatives."""
        if self.signed:
            return Values(self.count, self.minus, self.plus, signed=True)
        return Values(self.count, self.count - self.plus)


def log_evidence_above(values: Values, limit: float) -> float:
    """The logarithm of the wealth of who bets on a mean above `limit`."""
    logs = _logs(values, limit)
    most = max(logs, default=0.0)
    return most + math.log(sum(math.exp(each - most) for each in logs) / len(logs)) if logs else 0.0


def _logs(values: Values, limit: float) -> list[float]:
    """Of each constant bet's wealth; empty where no mean can be above the limit."""
    rest = values.count - values.plus - values.minus
    low, span = (-1.0, 2.0) if values.signed else (0.0, 1.0)
    mean = (limit - low) / span
    if mean >= 1.0:
        return []
    logs = []
    for rise in _SHIFTS:
        bet = rise / (1.0 + mean * rise)
        log = values.plus * math.log1p(bet * (1.0 - mean)) + rest * math.log1p(bet * ((0.0 - low) / span - mean))
        logs.append(log + (values.minus * math.log1p(-bet * mean) if values.minus else 0.0))
    return logs


def log_evidence_below(values: Values, limit: float) -> float:
    """As `log_evidence_above`, for a mean below `limit`."""
    return log_evidence_above(values.mirrored, -limit if values.signed else 1.0 - limit)


def surely_above(values: Values, limit: float, error: float) -> bool:
    """Whether the mean is above the limit, but for a chance of `error` over all looks."""
    return values.mean > limit and log_evidence_above(values, limit) >= -math.log(error)


def surely_below(values: Values, limit: float, error: float) -> bool:
    """As `surely_above`."""
    return bool(values.count) and values.mean < limit and log_evidence_below(values, limit) >= -math.log(error)


def at_least(values: Values, error: float) -> float:
    """The mean is at least this, but for a chance of `error` over all looks."""
    low, high = -1.0 if values.signed else 0.0, values.mean
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if surely_above(values, middle, error):
            low = middle
        else:
            high = middle
    return low


def at_most(values: Values, error: float) -> float:
    """The mean is at most this, but for a chance of `error` over all looks."""
    if not values.count:
        return 1.0
    found = at_least(values.mirrored, error)
    return -found if values.signed else 1.0 - found


def about_more(values: Values, limit: float, error: float) -> int:
    """About how many more values decide on which side of the limit the mean is, if what comes is like what came: by then the
    best of the bets has won enough. Without any, as if none were 1."""
    seen = values if values.count else Values(1.0, 0.0, signed=values.signed)
    above = seen.mean > limit
    logs = _logs(seen, limit) if above else _logs(seen.mirrored, -limit if seen.signed else 1.0 - limit)
    a_value = max(logs, default=0.0) / seen.count
    if a_value * MOST_MORE <= 1.0:
        return MOST_MORE
    wanted = math.log(len(_SHIFTS) / error) / a_value
    return max(1, min(MOST_MORE, math.ceil(wanted - values.count)))
