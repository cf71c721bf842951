"""Single values of the wire's messages, checked: what a node sends is printable, finite and bounded, or refused by its field."""

from __future__ import annotations

import math
from typing import Any

from littoral.errors import BadInput
from littoral_cloud.terminal.text import printable

LONGEST_TEXT = 2_000  # characters of free text from a node that are stored


def printed(value: str, most: int = LONGEST_TEXT) -> str:
    """At most `most` characters, none of which steers a terminal."""
    return printable(value[:most])[:most]


def cleaned(value: Any) -> Any:
    """The same JSON, every text in it printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(name): cleaned(part) for name, part in value.items()}
    return [cleaned(part) for part in value] if isinstance(value, list) else value


def given(message: Any, field: str) -> Any:
    """The value of an optional field; None where it was not sent."""
    return getattr(message, field) if message.HasField(field) else None


def finite_given(message: Any, field: str, of: str) -> float | None:
    """As `given`. `of`: the message's place, for the error."""
    value = given(message, field)
    return None if value is None else finite(value, f"{of}.{field}")


def finite(value: float, field: str) -> float:
    """The ledger holds JSON, which has no NaN; nothing that is measured is negative."""
    if not math.isfinite(value) or value < 0:
        raise BadInput(f"{field}: {value} is not a number from 0")
    return value
