"""The one strict decoder: a dataclass from what JSON or TOML gave. Both sides read all that they keep or receive with it:
manifests, records of the ledger, a node's files, recipes.

The rules, in order:

    1. The text is JSON or TOML, with no key twice, and no NaN and no infinity in it (`littoral.json_text.parse` for JSON).
    2. Every key is a field of the dataclass. An unknown key is refused, with the nearest known one.
    3. Every field without a default is there.
    4. Every value is of its field's type: 1 is a float, but true is no number, 1.0 is no int and "1" is neither.
    5. The dataclass accepts the values: `__post_init__`, or `check_decoded` where it has one, may raise BadInput, or BadField for
       one field. (`check_decoded` is for what others may send: in memory its dataclass takes any value of the right type.)

A refusal names the field by its path, the value, and what it must be:

    >>> decode(File, {"path": "model.onnx", "bytes": "12"}, "manifest.files[0]")
    BadInput: manifest.files[0].bytes: '12' is a text (it must be a whole number)
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from littoral.errors import BadInput
from littoral.type_words import described, kind_of, nearest

T = TypeVar("T")
Reader = Callable[[Any], Any]

_SCALARS = frozenset({str, int, float, bool, types.NoneType})
_EXACT = (str, int, bool)
_NOTHING: Mapping[str, Any] = {}  # every empty Mapping: a fleet has hundreds of thousands


class BadField(BadInput):
    """One field of a dataclass has a value that its type allows and its rules do not.

    Args:
        path: of the field, from the dataclass: "edges" or "edges[2]".
    """

    def __init__(self, path: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{path}: {message}", hint=hint)
        self.path = path
        self.problem = message


class _Wrong(Exception):
    """A refusal on its way out: each level that it leaves puts its own name in front of the path."""

    def __init__(self, message: str, hint: str, path: str = "") -> None:
        self.message, self.hint, self.path = message, hint, path

    def below(self, step: str) -> _Wrong:
        return _Wrong(self.message, self.hint, step + self.path)


def decode(cls: type[T], value: Any, at: str, *, given: Mapping[str, Any] | None = None) -> T:
    """The dataclass that a table describes.

    Args:
        at: where the table stands, for messages: "FILE: student.cnn".
        given: values of fields that the table may not name.

    Raises:
        BadInput: a key is unknown (with the nearest known one), missing, of a wrong type or out of range.
    """
    try:
        made: T = _record(cls, value, given)
    except _Wrong as wrong:
        raise BadInput(f"{at}{wrong.path}: {wrong.message}", hint=wrong.hint) from wrong.__cause__
    return made


def plain(value: Any) -> Any:
    """A dataclass as `decode` reads it back: dicts, lists, texts, numbers, true or false, None."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if hasattr(kind, "to_plain"):
        return value.to_plain()
    if is_dataclass(kind):
        return {name: part if type(part := getattr(value, name)) in _SCALARS else plain(part) for name in _names_of(kind)}
    if isinstance(value, Mapping):
        return {name: part if type(part) in _SCALARS else plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [part if type(part) in _SCALARS else plain(part) for part in value]
    return value.value if isinstance(value, Enum) else value


@cache
def _names_of(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in settable(cls))


def settable(cls: Any) -> tuple[Field[Any], ...]:
    """The fields that a table may name."""
    return tuple(field for field in fields(cls) if field.init)


def required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def refuse_unknown(table: Mapping[str, Any], known: Iterable[str], at: str) -> None:
    """Raises BadInput for the first unknown key, naming the nearest known one."""
    known = list(known)
    for key in table:
        if key not in known:
            raise BadInput(f"{at}.{key:.80}: is not known", hint=_nearest_of(key, known))


def _nearest_of(key: str, known: Sequence[str]) -> str:
    return f"{nearest(key, known)}known are {', '.join(known) or 'none'}"


# -- readers: one for each type, made once --------------------------------------------------------------------------


def _record(cls: Any, table: Any, given: Mapping[str, Any] | None = None) -> Any:
    if type(table) is not dict and not isinstance(table, Mapping):
        raise _type_error(cls, table)
    known, needed, checked = _fields_of(cls)
    values = dict(given) if given else {}
    for name, value in table.items():
        field = known.get(name)
        if field is None or (given and name in given):
            settable_here = [n for n in known if not given or n not in given]
            raise _Wrong("is not known", _nearest_of(str(name), settable_here), f".{name:.80}")
        kind, reader = field
        if type(value) is kind:
            values[name] = value
            continue
        try:
            values[name] = reader(value)
        except _Wrong as wrong:
            raise wrong.below(f".{name}") from wrong.__cause__
    if not needed.keys() <= values.keys():
        missing = next(name for name in needed if name not in values)
        raise _Wrong("is missing", f"it is {described(needed[missing])}", f".{missing}")
    try:
        made = cls(**values)
        if checked:
            made.check_decoded()
        return made
    except BadField as error:
        raise _Wrong(error.problem, error.hint, f".{error.path}") from error
    except BadInput as error:
        raise _Wrong(error.message, error.hint) from error
    except (TypeError, ValueError) as error:
        raise _Wrong(str(error), "") from error


@cache
def _fields_of(cls: Any) -> tuple[Mapping[str, tuple[Any, Reader]], Mapping[str, Any], bool]:
    """({field: (a type whose values are taken as they are, reader of the others)}, {field without a default: its type},
    whether there is a `check_decoded`)."""
    hints = typing.get_type_hints(cls)
    named = settable(cls)
    known = {f.name: (_as_it_is(hints[f.name]), _reader(hints[f.name])) for f in named}
    return known, {f.name: hints[f.name] for f in named if required(f)}, hasattr(cls, "check_decoded")


def _as_it_is(kind: Any) -> Any:
    options = [option for option in get_args(kind) or (kind,) if option is not types.NoneType]
    optional = get_origin(kind) in (Union, types.UnionType)
    return options[0] if len(options) == 1 and options[0] in _EXACT and (optional or options[0] is kind) else None


@cache
def _reader(kind: Any) -> Reader:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return lambda value: value
    if origin in (Union, types.UnionType):
        return _union_reader(kind, inner)
    if origin is Literal:
        return _choice_reader(kind, {option: option for option in inner})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _choice_reader(kind, {option.value: option for option in kind})
    if origin in (tuple, list, Sequence) or kind in (tuple, list):
        return _list_reader(kind, origin or kind, inner)
    if origin in (dict, Mapping) or kind in (dict, Mapping):
        return _mapping_reader(kind, _reader(inner[1]) if inner and inner[1] is not Any else None)
    if hasattr(kind, "from_plain"):
        return lambda value: _by_itself(kind, value)
    if is_dataclass(kind):
        return lambda value: _record(kind, value)
    if kind is float:
        return _float
    return _exact_reader(kind)


def _exact_reader(kind: Any) -> Reader:
    """For int, bool and str. `type(...) is` keeps true and false out of the numbers."""

    def read(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise _type_error(kind, value)

    return read


def _by_itself(kind: Any, value: Any) -> Any:
    """Of a class with `to_plain` and `from_plain`, which may raise ValueError."""
    try:
        return kind.from_plain(value)
    except ValueError as error:
        raise _Wrong(str(error), "") from error


def _float(value: Any) -> float:
    """TOML has nan and inf, and no setting is one of them; JSON may hold whole numbers that no float holds."""
    if type(value) in (int, float):
        try:
            if math.isfinite(number := float(value)):
                return number or 0.0  # one object
        except OverflowError:
            pass
    raise _type_error(float, value)


def _choice_reader(kind: Any, options: Mapping[Any, Any]) -> Reader:
    def read(value: Any) -> Any:
        if type(value) in (str, int) and value in options:
            return options[value]
        raise _type_error(kind, value)

    return read


def _mapping_reader(kind: Any, each: Reader | None) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise _type_error(kind, value)
        if each is None or not value:
            return dict(value) if value or (get_origin(kind) or kind) is not Mapping else _NOTHING
        found = {}
        for name, part in value.items():
            try:
                found[name] = each(part)
            except _Wrong as wrong:
                raise wrong.below(f".{name:.80}") from wrong.__cause__
        return found

    return read


def _list_reader(kind: Any, shell: Any, inner: Sequence[Any]) -> Reader:
    fixed = [_reader(part) for part in inner] if shell is tuple and inner and inner[-1] is not Ellipsis else None
    each = _reader(inner[0]) if inner else _reader(Any)
    exact = frozenset({inner[0]}) if inner and inner[0] in _EXACT and fixed is None else None

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise _type_error(kind, value)
        if fixed is not None and len(value) != len(fixed):
            raise _Wrong(f"holds {len(value)} values", f"it must hold {len(fixed)}")
        if exact is not None and exact.issuperset(map(type, value)):
            return value[:] if shell is list else tuple(value)
        found: list[Any] = []
        try:
            for part in value:
                found.append((fixed[len(found)] if fixed else each)(part))
        except _Wrong as wrong:
            raise wrong.below(f"[{len(found)}]") from wrong.__cause__
        return found if shell is list else tuple(found)

    return read


def _union_reader(kind: Any, inner: Sequence[Any]) -> Reader:
    """The first type that takes the value."""
    readers = [_reader(option) for option in inner if option is not types.NoneType]
    optional = types.NoneType in inner
    if optional and len(readers) == 1:
        return lambda value: None if value is None else readers[0](value)

    def read(value: Any) -> Any:
        if value is None and optional:
            return None
        for reader in readers:
            with suppress(_Wrong):
                return reader(value)
        raise _type_error(kind, value)

    return read


def _type_error(kind: Any, value: Any) -> _Wrong:
    text = repr(value)
    return _Wrong(f"{text if len(text) <= 80 else f'{text[:77]}...'} is {kind_of(value)}", f"it must be {described(kind)}")
