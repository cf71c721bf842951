"""Types, values and near misses in the words of a message: "a whole number", "a table", "did you mean rate?"."""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

_CALLED = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "a table", list: "a list"}
_CALLED[types.NoneType] = "null"


def nearest(name: str, known: Iterable[str]) -> str:
    """ "did you mean X? ", or nothing where nothing is near."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]}? " if close else ""


def described(kind: Any) -> str:
    """A field's type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(described(option) for option in inner if option is not types.NoneType)
    if origin is Literal:
        return " or ".join(repr(option) for option in inner)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(repr(option.value) for option in kind)
    if origin in (tuple, list, Sequence):
        return f"a list, each {described(inner[0])}" if inner else "a list"
    if origin in (dict, Mapping) or kind is Mapping or is_dataclass(kind):
        return "a table"
    return _CALLED.get(kind, getattr(kind, "__name__", str(kind)))


def kind_of(value: Any) -> str:
    """A value's type in words."""
    if isinstance(value, float) and not math.isfinite(value):
        return "not finite"
    if isinstance(value, Mapping):
        return "a table"
    return _CALLED.get(type(value), f"a {type(value).__name__}")
