"""Checks on what an architecture is given: specs come from files and manifests, so anything may be in them."""

from __future__ import annotations

from typing import Any

from littoral.errors import BadInput

MAX_WIDTH = 4096


def widths_of(field: str, value: Any, *, least: int = 1, most: int = 32) -> tuple[int, ...]:
    """A row of layer widths. Raises BadInput, naming the field."""
    if not isinstance(value, list | tuple) or not least <= len(value) <= most:
        raise BadInput(f"architecture.{field}: {value!r} must be a list of {least} to {most} whole numbers")
    return tuple(whole(field, item) for item in value)


def whole(field: str, value: Any, *, least: int = 1, most: int = MAX_WIDTH) -> int:
    """A whole number inside its bounds. Raises BadInput, naming the field."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadInput(f"architecture.{field}: {value!r} must be a whole number from {least} to {most}")
    return value


def factor(field: str, value: Any, *, most: float = 16.0) -> float:
    """A positive number. Raises BadInput, naming the field."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= most:
        raise BadInput(f"architecture.{field}: {value!r} must be a number over 0, at most {most:g}")
    return float(value)
