"""When a node takes updates: a maintenance window in the node's own time zone.

Rules, in order:

1. A window is a list of parts, separated by ";". Each has days, times of day, or both: "Mon-Fri 01:00-05:00; Sat,Sun".
2. Without days a part is for every day; without times it is for the whole day.
3. A part whose end is not after its start ends on the next day: "Fri 22:00-06:00" ends on Saturday.
4. No part at all, or "always", is open at any time.
5. The clock on the wall decides. An hour that daylight saving leaves out opens nothing; one that comes twice counts twice.

Example: "Sun 02:30-04:00" in Berlin, on the Sunday when the clock goes from 02:00 to 03:00: it is open from 03:00 on. In autumn,
when the hour from 02:00 to 03:00 comes twice, it is open from 02:30 to 03:00, and again from the second 02:30 on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from littoral.errors import BadInput

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HINT = 'for example "Mon-Fri 01:00-05:00; Sat,Sun"'
ALWAYS = "always"
LONGEST_TEXT = 200
_DAY_MIN = 24 * 60
_WEEK_DAYS = len(DAYS)
_TIMES = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
_ZONE = re.compile(r"[A-Za-z0-9_+\-/]{1,64}")


@dataclass(frozen=True, slots=True)
class WindowPart:
    """`start`, `end`: minutes from midnight of each of `days` (0: Monday); an end over 1440 is on the next day."""

    days: frozenset[int]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class UpdateWindow:
    """Empty `parts`: it is always open."""

    parts: tuple[WindowPart, ...] = ()


@lru_cache(maxsize=1024)
def parse_window(text: str, field: str) -> UpdateWindow:
    """Of a text by the rules above; "": always open. Raises BadInput, naming the field and the part that is wrong."""
    if len(text) > LONGEST_TEXT:
        raise BadInput(f"{field}: has {len(text)} characters, at most {LONGEST_TEXT}", hint=HINT)
    if text.strip().lower() == ALWAYS:
        return UpdateWindow()
    return UpdateWindow(tuple(_part(part.strip(), field) for part in text.split(";") if part.strip()))


def _part(text: str, field: str) -> WindowPart:
    words = text.split()
    times = words.pop() if words and ":" in words[-1] else ""
    days = _days(words[0], field) if words else frozenset(range(_WEEK_DAYS))
    if len(words) > 1:
        raise BadInput(f"{field}: {text!r} is not days and times of day", hint=HINT)
    if not times:
        return WindowPart(days, 0, _DAY_MIN)
    match = _TIMES.fullmatch(times)
    start, end = (int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])) if match else (-1, -1)
    if match is None or not (0 <= start < _DAY_MIN and 0 <= end <= _DAY_MIN) or max(int(match[2]), int(match[4])) > 59:
        raise BadInput(f"{field}: {times!r} is not HH:MM-HH:MM", hint=HINT)
    return WindowPart(days, start, end if end > start else end + _DAY_MIN)


def _days(text: str, field: str) -> frozenset[int]:
    found: set[int] = set()
    for piece in text.split(","):
        first, dash, last = piece.partition("-")
        if first.title() not in DAYS or (dash and last.title() not in DAYS):
            raise BadInput(f"{field}: {piece!r} is no day of the week", hint=HINT)
        at, to = DAYS.index(first.title()), DAYS.index((last or first).title())
        found.update((at + n) % _WEEK_DAYS for n in range((to - at) % _WEEK_DAYS + 1))
    return frozenset(found)


def zone_named(name: str, field: str) -> ZoneInfo:
    """The time zone of this name; "": UTC. Raises BadInput where this machine knows no such zone."""
    if not name:
        return ZoneInfo("UTC")
    try:
        if _ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of the database is an OSError
        pass
    raise BadInput(f"{field}: {name[:64]!r} is no time zone that is known here", hint="for example Europe/Berlin, or UTC")


def check_zone_name(name: str, field: str) -> str:
    """The name itself. On a machine without a time zone database only its form is checked. Raises BadInput."""
    try:
        zone_named(name, field)
    except BadInput:
        if _ZONE.fullmatch(name) is None or available_timezones():
            raise
    return name


def is_open(window: UpdateWindow, zone: ZoneInfo, now: float) -> bool:
    """Args:
    now: seconds since 1970-01-01 UTC.
    """
    if not window.parts:
        return True
    local = datetime.fromtimestamp(now, zone)
    minute, day = local.hour * 60 + local.minute, local.weekday()
    before = (day - 1) % _WEEK_DAYS
    return any(
        (day in part.days and part.start <= minute < part.end) or (before in part.days and minute + _DAY_MIN < part.end)
        for part in window.parts
    )


def opens_at(window: UpdateWindow, zone: ZoneInfo, now: float) -> float:
    """When the window is open next: now, where it is open; seconds since 1970-01-01 UTC."""
    if not window.parts:
        return now
    opens = _next_opening(window, zone, now // 60)
    return now if opens is None else opens


@lru_cache(maxsize=4096)
def _next_opening(window: UpdateWindow, zone: ZoneInfo, minute: float) -> float | None:
    """After this minute since 1970; None: it is open in it. Nodes with one window and one zone share the answer."""
    closed = minute * 60
    if is_open(window, zone, closed):
        return None
    first = datetime.fromtimestamp(closed, zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    for day in range(-1, 3 * _WEEK_DAYS):  # a window whose only day is left out by daylight saving opens a week later
        found = sorted(at for at in _changes(window, zone, first + timedelta(days=day)) if at > closed)
        if opening := next((at for at in found if is_open(window, zone, at)), None):
            return opening
    raise AssertionError(f"{window} never opens in {zone}")


def _changes(window: UpdateWindow, zone: ZoneInfo, day: datetime) -> Iterator[float]:
    """When the window may open on a local day: at the start of each part, and where the clock on the wall jumps."""
    for part in window.parts:
        start = day + timedelta(minutes=part.start)
        yield from (start.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    midnights = (day.replace(tzinfo=zone).timestamp(), (day + timedelta(days=1)).replace(tzinfo=zone).timestamp())
    if (jump := _jump(zone, *midnights)) is not None:
        yield jump


def _jump(zone: ZoneInfo, low: float, high: float) -> float | None:
    """The second in which the offset from UTC changes between these two times; None: it does not."""

    def offset(at: float) -> timedelta | None:
        return datetime.fromtimestamp(at, zone).utcoffset()

    if (before := offset(low)) == offset(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(middle) == before else (low, middle)
    return high
