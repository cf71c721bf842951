"""How figures and states are written on a page. Pure."""

from __future__ import annotations

from urllib.parse import quote

from littoral_cloud.terminal.text import when

_UNITS = ("B", "kB", "MB", "GB", "TB")

_SHAPES = {
    "good": (
        "online", "succeeded", "usable", "pass", "passed", "committed", "whole", "steady", "serving", "newest",
        "worth choosing",
    ),
    "busy": (
        "wave", "measuring", "running", "downloading", "verifying", "probation", "told", "restoring", "planned", "shadow",
    ),
    "wait": ("pending", "away", "deferred", "paused", "not approved", "needs more", "waiting", "none yet"),
    "warn": ("quarantined", "rolling_back", "expires", "drifted", "withdrawn", "rolled_back", "restored", "aborted", "late"),
    "bad": ("cloned", "failed", "fail", "failing", "denied", "broken"),
}  # fmt: skip
"""Words of states by the shape that stands before them; a word that is not here has the shape "off"."""
_OF_WORD = {word: shape for shape, many in _SHAPES.items() for word in many}
_WORST_FIRST = ("bad", "warn", "wait", "busy", "good")


def size(count: float | None) -> str:
    """Bytes as people read them: 1.2 MB. None: a dash."""
    if count is None:
        return "–"
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 99.5 else f"{value:.3g} {_UNITS[unit]}"


def milliseconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def percent(share: float | None, places: int = 1) -> str:
    return "–" if share is None else f"{share * 100:.{places}f} %"


def whole(count: float | None) -> str:
    return "–" if count is None else f"{count:,.0f}"


def shape_of(state: str) -> str:
    """The shape before a state: that of the worst of its words ("online, quarantined")."""
    shapes = {_OF_WORD.get(part.strip().lower(), "off") for part in state.split(",")}
    return next((shape for shape in _WORST_FIRST if shape in shapes), "off")


def short_digest(digest: str) -> str:
    """The first twelve characters behind the name of the hash."""
    return digest.rpartition(":")[2][:12]


def moment(text: str | None) -> str:
    """2026-01-31T12:00:00Z as 2026-01-31 12:00:00; UTC stands in the head of the page."""
    return "–" if not text else text.removesuffix("Z").replace("T", " ")


def instant(seconds: float | None) -> str:
    """Of seconds since 1970-01-01 UTC; None or 0: a dash."""
    return moment(when(seconds)) if seconds else "–"


def path_part(text: str) -> str:
    """A name as one part of a path."""
    return quote(text, safe="")
