"""How likely counts as bad as these are by chance alone: exact tests, in pure Python, for one look or for many."""

from __future__ import annotations

import math
from collections.abc import Callable

LEAST_BEFORE = 100
"""The fewest requests that the model before counts for, with its own share of failures. From a few, nothing would follow."""


def surely_more(failed: int, of: int, failed_before: int, of_before: int, allowed: float, error: float) -> bool:
    """Whether more requests fail than before and than is allowed beyond, but for a chance of `error` at this one look.

    Fisher's exact test, one-sided, against the counts before in which the share `allowed` has failed too (Fisher, The Design of
    Experiments, 1935). Where nothing served before, the binomial test against `allowed` itself. With fewer than LEAST_BEFORE
    requests before, of which many failed, the chance can be larger than `error`.

    Args:
        failed, failed_before: of `of` and `of_before` requests.
        allowed: a share of requests, 0..1.
    """
    if not of_before:
        return failed > allowed * of and (allowed <= 0 or binomial_at_least(failed, of, allowed) <= error)
    before = max(of_before, LEAST_BEFORE)
    usual = min(before, math.ceil(failed_before * before / of_before + allowed * before))
    return failed * before > usual * of and drawn_at_least(failed, of, failed + usual, of + before) <= error


def surely_more_early(
    failed: int, of: int, failed_before: int, of_before: int, allowed: float, error: float, *, first: int
) -> bool:
    """As `surely_more`, for a look at any time: the chance is `error` over all looks together.

    It is judged as the first, second, fourth ... times `first` failures come, with a half, a quarter, an eighth ... of the error.
    A later look at the same number of failures among more requests finds less, so that it adds nothing to the chance.
    """
    if failed < first:
        return False
    doublings = int(math.log2(failed / first))
    return any(
        surely_more(first * 2**step, of, failed_before, of_before, allowed, error / 2 ** (step + 1))
        for step in range(doublings + 1)
    )


def surely_fewer(right: int, of: int, right_before: int, error: float) -> bool:
    """Whether fewer of the same examples are answered rightly than before, but for a chance of `error`: the lower tail of a
    binomial distribution with the share before, (right_before + 1) / (of + 2) (Laplace): one that was never wrong may be once."""
    share = (right_before + 1) / (of + 2)
    return right < share * of and binomial_at_least(of - right, of, 1 - share) <= error


def drawn_at_least(hits: int, drawn: int, all_hits: int, of: int) -> float:
    """The chance of `hits` or more among `drawn` of `of` things, `all_hits` of which are hits: the hypergeometric upper tail."""
    least = max(hits, drawn + all_hits - of, 0)
    return _sum(
        math.exp(_log_choose(all_hits, least) + _log_choose(of - all_hits, drawn - least) - _log_choose(of, drawn))
        if least <= min(drawn, all_hits)
        else 0.0,
        lambda x: (all_hits - x) * (drawn - x) / ((x + 1) * (of - all_hits - drawn + x + 1)),
        range(least, min(drawn, all_hits)),
    )


def binomial_at_least(hits: int, of: int, share: float) -> float:
    """The chance of `hits` or more among `of` values, each a hit with the chance `share`, 0 < share < 1: the upper tail."""
    if hits <= 0:
        return 1.0
    first = math.exp(_log_choose(of, hits) + hits * math.log(share) + (of - hits) * math.log1p(-share)) if hits <= of else 0.0
    odds = share / (1 - share)
    return _sum(first, lambda x: odds * (of - x) / (x + 1), range(hits, of))


def _sum(first: float, ratio: Callable[[int], float], upto: range) -> float:
    """first + first * ratio(a) + first * ratio(a) * ratio(a + 1) ..., until what comes changes nothing."""
    total = term = first
    for x in upto:
        term *= ratio(x)
        total += term
        if term < total * 1e-12 and ratio(x) < 1:
            break
    return min(1.0, total)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
