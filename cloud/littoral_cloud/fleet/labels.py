"""Labels of nodes as people write them: key=value, and key:value, which means the same. They are printed as key=value."""

from __future__ import annotations

import re
from collections.abc import Iterable

from littoral.errors import BadInput

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}")
_SEPARATOR = re.compile("[=:]")
"""No key has one of them, so that the first one ends the key."""


def split_label(text: str) -> tuple[str, str, str]:
    """Key, separator and value, as str.partition gives them."""
    found = _SEPARATOR.search(text)
    return (text[: found.start()], found[0], text[found.end() :]) if found else (text, "", "")


def labels_from(texts: Iterable[str], at: str = "label") -> dict[str, str]:
    """Args:
    at: where they stand, for the message.

    Raises BadInput where one is not key=value.
    """
    labels = {}
    for text in texts:
        key, separator, value = split_label(text)
        if not separator or not KEY.fullmatch(key):
            raise BadInput(f"{at}: {text[:80]!r} is not KEY=VALUE", hint="like site=harbour")
        labels[key] = value
    return labels
