"""Text for people: made safe for a terminal and a log, and in the right number."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_LAST = 253_402_300_799.0  # of the year 9999


def printable(text: str) -> str:
    """The text with every character that could control a terminal written as \\x1b."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def shortened(text: str, most: int) -> str:
    """At most `most` characters; ... stands for what is left out."""
    return text if len(text) <= most else f"{text[: most - 3].rstrip()}..."


def counted(count: int, noun: str) -> str:
    """1 node, 2 nodes, 1,000 nodes."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def when(seconds: float) -> str:
    """A time of day in UTC: 2026-01-31T12:00:00Z; of a time that no calendar has, the nearest one that it has."""
    return datetime.fromtimestamp(min(max(seconds, 0.0), _LAST), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def beside(text: str, names: Mapping[str, str]) -> str:
    """An id with its name beside it; any other text as it is, also one that has an id inside, like a fingerprint."""
    return f"{text} ({names[text]})" if text in names else text


def all_beside(value: Any, names: Mapping[str, str]) -> Any:
    """The same for each text in a value of JSON, and each key."""
    if isinstance(value, str):
        return beside(value, names)
    if isinstance(value, Mapping):
        return {beside(str(key), names): all_beside(part, names) for key, part in value.items()}
    return [all_beside(part, names) for part in value] if isinstance(value, list | tuple) else value
