"""The budget of offload: questions each minute, bytes each day. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

MINUTE_S, DAY_S = 60, 86_400


@dataclass(frozen=True, slots=True)
class OffloadBudget:
    per_minute: int = 10
    bytes_per_day: int = 5_000_000


@dataclass(frozen=True, slots=True)
class OffloadSpending:
    """`minute` and `day` count from 1970-01-01 UTC; what was spent in another one counts no more."""

    minute: int = -1
    questions: int = 0  # in that minute
    day: int = -1
    bytes: int = 0  # in that day


def refusal(spent: OffloadSpending, budget: OffloadBudget, size: int, now: float) -> str:
    """Why a question of `size` bytes must not be sent now; "": it may be sent.

    Args:
        now: seconds since 1970-01-01 UTC.
    """
    spent = _current(spent, now)
    if spent.questions + 1 > budget.per_minute:
        return "minute-spent"
    return "day-spent" if spent.bytes + size > budget.bytes_per_day else ""


def spend(spent: OffloadSpending, size: int, now: float, *, questions: int = 1) -> OffloadSpending:
    """What is spent after `size` more bytes."""
    spent = _current(spent, now)
    return replace(spent, questions=spent.questions + questions, bytes=spent.bytes + size)


def _current(spent: OffloadSpending, now: float) -> OffloadSpending:
    minute, day = int(now // MINUTE_S), int(now // DAY_S)
    return OffloadSpending(minute, spent.questions if minute == spent.minute else 0, day, spent.bytes if day == spent.day else 0)
