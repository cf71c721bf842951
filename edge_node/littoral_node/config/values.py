"""Reads the text of one setting: each function takes the text and its field, and raises BadInput, naming the field, the value
and what it could be instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from littoral.budget import Budget
from littoral.errors import BadInput
from littoral.maintenance import check_zone_name, parse_window
from littoral.transport import split_address
from littoral_node.identity.folder import MODEL_NAME
from littoral_node.machine.conditions import NAMES
from littoral_node.runtimes import REGISTRY
from littoral_node.runtimes.using import providers_from

T = TypeVar("T")

HINDRANCES = (*NAMES, "busy", "training")
"""What a node may put an update off for."""

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*")
_SECONDS = re.compile(r"\s*([0-9]{1,5}(?:\.[0-9]{1,3})?)\s*s?\s*")
_SIZE_UNITS = {"": 1, "b": 1, "kb": 1_000, "mb": 1_000_000, "gb": 1_000_000_000}


def whole_number(most: int, *, hint: str) -> Callable[[str, str], int]:
    """Reads one from 1 to `most`."""

    def read(text: str, field: str) -> int:
        if not re.fullmatch(r"\s*[0-9]{1,5}\s*", text) or not 1 <= int(text) <= most:
            raise BadInput(f"{field}: {text!r} is not a whole number from 1 to {most}", hint=hint)
        return int(text)

    return read


def one_of(known: Mapping[str, T]) -> Callable[[str, str], T]:
    """Reads one of these words, in any case, and gives its value."""

    def read(text: str, field: str) -> T:
        if (word := text.strip().lower()) not in known:
            raise BadInput(f"{field}: {text!r} is none of {', '.join(known)}", hint=f"write {' or '.join(known)}")
        return known[word]

    return read


def parse_size(text: str, field: str) -> int:
    """Bytes of "200KB", "1.5MB", "4096" (KB = 1,000 bytes). Raises BadInput, naming the field."""
    match = _SIZE.fullmatch(text.lower())
    if match is None or match[2] not in _SIZE_UNITS:
        raise BadInput(f"{field}: {text!r} is not a size", hint="write a number and B, KB, MB or GB, for example 200KB")
    return round(float(match[1]) * _SIZE_UNITS[match[2]])


def rate(text: str, field: str) -> float:
    size = parse_size(text.strip().removesuffix("/s"), field)
    if size <= 0:
        raise BadInput(f"{field}: {text!r} would never move a byte", hint="leave it out for no limit")
    return float(size)


def address_or_off(text: str, field: str) -> tuple[str, int] | None:
    return None if text.strip().lower() == "off" else split_address(text, field)


def seconds(text: str, field: str) -> float:
    match = _SECONDS.fullmatch(text)
    if match is None or not 0.1 <= float(match[1]) <= 3_600:
        raise BadInput(f"{field}: {text!r} is not a time from 0.1s to 3600s", hint="for example 30s")
    return float(match[1])


def some_size(text: str, field: str) -> int:
    if (size := parse_size(text, field)) <= 0:
        raise BadInput(f"{field}: {text!r} would hold no model", hint="leave it out for no limit")
    return size


def budgets(text: str, field: str) -> dict[str, Budget]:
    """Of "NAME: LIMITS; NAME: LIMITS"."""
    found: dict[str, Budget] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, colon, text_of_it = part.partition(":")
        name = name.strip()
        if not colon or not MODEL_NAME.fullmatch(name):
            raise BadInput(f"{field}: {part!r} is not NAME: LIMITS", hint="for example 'digits: quota=50%; faces: rss<=8MB'")
        if name in found:
            raise BadInput(f"{field}: {name} is named twice", hint="write all of its limits at once, by comma")
        found[name] = limits(text_of_it, f"{field}: {name}")
    return found


def thresholds(text: str, field: str) -> dict[str, float]:
    """Of "NAME=60%, NAME=0.5"."""
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = (piece.strip() for piece in part.partition("="))
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(%?)", number)
        value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
        if not MODEL_NAME.fullmatch(name) or not 0 < value <= 1:
            raise BadInput(f"{field}: {part!r} is not NAME=CONFIDENCE", hint="for example 'digits=60%, faces=0.5'")
        found[name] = value
    return found


def words(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def path_to(text: str, field: str) -> Path:
    if not text.strip():
        raise BadInput(f"{field}: is empty", hint="name a path, or leave it out")
    if "\0" in text:
        raise BadInput(f"{field}: {text!r} holds a NUL", hint="name a path without it")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{field}: {text!r}: {error}", hint="write the whole path, without ~") from error


def folder(text: str, field: str) -> Path:
    path = path_to(text, field)
    if not path.is_dir():
        raise BadInput(f"{field}: {path} is not a folder", hint="name one that is there, or make it")
    return path


def lock_file(text: str, field: str) -> Path:
    path = path_to(text, field)
    if not path.parent.is_dir():
        raise BadInput(f"{field}: {path.parent} is not a folder", hint="name a file in a folder that is there")
    return path


def runtimes(text: str, field: str) -> tuple[str, ...]:
    names = words(text)
    for name in names:
        if name not in REGISTRY:
            raise BadInput(f"{field}: {name!r} is no runtime", hint=f"known are {', '.join(REGISTRY)}")
    return names


def hindrances(text: str, field: str) -> tuple[str, ...]:
    """Of "battery_low,busy"; "never" is none of them."""
    if text.strip().lower() == "never":
        return ()
    names = tuple(name.replace("-", "_") for name in words(text))
    for name in names:
        if name not in HINDRANCES:
            raise BadInput(f"{field}: {name!r} is none of {', '.join(HINDRANCES)}", hint="write some of them, or never")
    return names


def update_window(text: str, field: str) -> str:
    parse_window(text, field)
    return text.strip()


def time_zone(text: str, field: str) -> str:
    return check_zone_name(text.strip(), field)


def limits(text: str, field: str) -> Budget:
    try:
        return Budget.parse(text)
    except BadInput as error:
        raise BadInput(f"{field}: {error.message}", hint=error.hint) from error


def providers(text: str, field: str) -> tuple[str, ...]:
    return providers_from(words(text), field)


def percent(text: str, field: str) -> float:
    match = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]+)?)\s*%?\s*", text)
    if match is None or not 1 <= float(match[1]) <= 90:
        raise BadInput(f"{field}: {text!r} is not a percentage from 1 to 90", hint="for example 20%")
    return float(match[1])


def celsius(text: str, field: str) -> float:
    match = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]+)?)\s*°?[cC]?\s*", text)
    if match is None or not 20 <= float(match[1]) <= 150:
        raise BadInput(f"{field}: {text!r} is not a temperature from 20 to 150 degrees Celsius", hint="for example 80C")
    return float(match[1])
