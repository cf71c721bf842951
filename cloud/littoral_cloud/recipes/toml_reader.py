"""A frozen dataclass from a TOML table, strictly: every key known, every value of its field's type, every refusal with its name.

The fields themselves say what is allowed, so a new setting of a method or a schedule can be written in a recipe the moment it is
a field.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from littoral.errors import BadInput

T = TypeVar("T")

_CALLED = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "a table", list: "a list"}


def read(cls: type[T], table: Mapping[str, Any], at: str, *, given: Mapping[str, Any] | None = None) -> T:
    """The dataclass that a table describes.

    Args:
        at: where the table stands, for messages: "FILE: student.cnn".
        given: values of fields that the table may not name.

    Raises:
        BadInput: a key is unknown (with the nearest one that is not), missing, of a wrong type or out of range.
    """
    ready = dict(given or {})
    wanted = {field.name: field for field in settable(cls) if field.name not in ready}
    refuse_unknown(table, wanted, at)
    hints = typing.get_type_hints(cls)
    for name, field in wanted.items():
        if name not in table and required(field):
            raise BadInput(f"{at}.{name}: is missing", hint=f"it is {described(hints[name])}")
    values = {name: _value(hints[name], value, f"{at}.{name}") for name, value in table.items()}
    try:
        return cls(**ready, **values)
    except BadInput as error:
        raise BadInput(f"{at}: {error.message}", hint=error.hint) from error
    except (TypeError, ValueError) as error:
        raise BadInput(f"{at}: {error}") from error


def settable(cls: Any) -> tuple[Field[Any], ...]:
    """The fields that a table may name."""
    return tuple(field for field in fields(cls) if field.init)


def required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def refuse_unknown(table: Mapping[str, Any], known: Iterable[str], at: str) -> None:
    """Raises BadInput for the first key that is not known, naming the nearest one that is."""
    known = list(known)
    for key in table:
        if key not in known:
            raise BadInput(f"{at}.{key}: is not known", hint=f"{nearest(key, known)}known are {', '.join(known) or 'none'}")


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
    if origin in (tuple, list, Sequence):
        return f"a list, each {described(inner[0])}" if inner else "a list"
    if origin in (dict, Mapping) or kind is Mapping or is_dataclass(kind):
        return "a table"
    return _CALLED.get(kind, getattr(kind, "__name__", str(kind)))


def _value(kind: Any, value: Any, at: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return value
    if origin in (Union, types.UnionType):
        return _union([option for option in inner if option is not types.NoneType], value, at)
    if origin is Literal:
        if value in inner and not isinstance(value, bool | float):
            return value
    elif origin in (tuple, list, Sequence) or kind in (tuple, list):
        if isinstance(value, list):
            return _items(origin or kind, inner, value, at)
    elif origin in (dict, Mapping) or kind in (dict, Mapping):
        if isinstance(value, Mapping):
            each = inner[1] if inner else Any
            return {key: _value(each, part, f"{at}.{key}") for key, part in value.items()}
    elif is_dataclass(kind):
        if isinstance(value, Mapping):
            return read(typing.cast("type[Any]", kind), value, at)
    elif kind is float:
        # nan and inf are numbers in TOML; no setting wants them.
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    elif kind is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif kind in (bool, str) and isinstance(value, kind):
        return value
    raise BadInput(f"{at}: {_shown(value)} is {_kind_of(value)}", hint=f"it must be {described(kind)}")


def _union(options: Sequence[Any], value: Any, at: str) -> Any:
    refused: BadInput | None = None
    for option in options:
        try:
            return _value(option, value, at)
        except BadInput as error:
            refused = error if refused is None or is_dataclass(option) else refused
    if len(options) == 1 and refused is not None:
        raise refused
    raise BadInput(
        f"{at}: {_shown(value)} is {_kind_of(value)}", hint="it must be " + " or ".join(described(option) for option in options)
    )


def _items(shell: Any, inner: Sequence[Any], value: Sequence[Any], at: str) -> Any:
    if not inner:
        kinds: Sequence[Any] = [Any] * len(value)
    elif shell is tuple and inner[-1] is not Ellipsis:
        if len(value) != len(inner):
            raise BadInput(f"{at}: holds {len(value)} values", hint=f"it must hold {len(inner)}")
        kinds = inner
    else:
        kinds = [inner[0]] * len(value)
    items = [_value(kind, item, f"{at}[{place}]") for place, (kind, item) in enumerate(zip(kinds, value, strict=True))]
    return items if shell is list else tuple(items)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _kind_of(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "not finite"
    if isinstance(value, Mapping):
        return "a table"
    return _CALLED.get(type(value), f"a {type(value).__name__}")
