"""Checks on what an architecture is given: specs come from files and manifests, so anything may be in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from littoral.errors import BadInput

MAX_WIDTH = 4096


def widths_of(field: str, value: Any, *, least: int = 1, most: int = 32) -> tuple[int, ...]:
    """A row of layer widths. Raises BadInput, naming the field."""
    if not isinstance(value, list | tuple) or not least <= len(value) <= most:
        many = str(least) if least == most else f"{least} to {most}"
        raise BadInput(f"architecture.{field}: {value!r} must be a list of {many} whole numbers")
    return tuple(whole(field, item) for item in value)


def strides_of(field: str, value: Any, *, count: int | None = None) -> tuple[int, ...]:
    """A 1 or a 2 for each of `count` widths, or for as many steps as there are. Raises BadInput, naming the field."""
    steps = widths_of(field, value)
    if max(steps) > 2 or count not in (None, len(steps)):
        of = "step" if count is None else f"of {count} widths"
        raise BadInput(f"architecture.{field}: {list(steps)} must hold a 1 or a 2 for each {of}")
    return steps


def depths_of(value: Any, widths: Sequence[int], what: str) -> tuple[int, ...]:
    """How many blocks or units (`what`) each stage has. Raises BadInput, naming the field."""
    deep = widths_of("depths", value, most=8)
    if len(deep) != len(widths) or max(deep) > 64:
        raise BadInput(f"architecture.depths: {list(deep)} must hold 1 to 64 {what} for each of {len(widths)} widths")
    return deep


def whole(field: str, value: Any, *, least: int = 1, most: int = MAX_WIDTH) -> int:
    """A whole number inside its bounds. Raises BadInput, naming the field."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadInput(f"architecture.{field}: {value!r} must be a whole number from {least} to {most}")
    return value


def odd(field: str, value: Any, *, least: int = 1, most: int = 11) -> int:
    """The size of a kernel with a middle. Raises BadInput, naming the field."""
    if whole(field, value, least=least, most=most) % 2 == 0:
        raise BadInput(f"architecture.{field}: {value} must be odd")
    return int(value)


def factor(field: str, value: Any, *, most: float = 16.0) -> float:
    """A positive number. Raises BadInput, naming the field."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= most:
        raise BadInput(f"architecture.{field}: {value!r} must be a number over 0, at most {most:g}")
    return float(value)


def chance(field: str, value: Any) -> float:
    """A probability below 1. Raises BadInput, naming the field."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise BadInput(f"architecture.{field}: {value!r} must be a number from 0 to below 1")
    return float(value)


def switch(field: str, value: Any) -> bool:
    """True or false. Raises BadInput, naming the field."""
    if not isinstance(value, bool):
        raise BadInput(f"architecture.{field}: {value!r} must be true or false")
    return value


def one_of(field: str, value: Any, known: Sequence[str]) -> str:
    """One of a few words. Raises BadInput, naming the field."""
    if not isinstance(value, str) or value not in known:
        raise BadInput(f"architecture.{field}: {value!r} is not known", hint=f"one of {', '.join(known)}")
    return value


def scaled(width: int, multiplier: float, *, steps: int = 1, least: int = 4) -> int:
    """`width` times a multiplier, as the nearest multiple of `steps` and not below `least`."""
    return max(-(-least // steps), round(width * multiplier / steps)) * steps
