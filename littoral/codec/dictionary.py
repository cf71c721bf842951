"""Dictionaries that ship with the agent: graphs of our architectures without weights, so that a graph need not travel whole.

The model of a mixed text (text.py) may read one of these before it codes. Coded bytes name it by its number. A dictionary never
changes, because every version decodes what was coded with it; a new one gets a new number, and what it means for a node is in
docs/codec.md. `python tools/codec_dictionary.py` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib import resources

from littoral.codec.container import HAS_DICTIONARY, NAME, Reader
from littoral.codec.errors import DictionaryChanged, Undecodable

DIGESTS: Mapping[int, str] = {
    1: "sha256:694b9a1e05a2ca3f7b19ebd50d6ea1b2d94cf3b680f7c1d95a4af1555bb1599e",
    2: "sha256:cf3f23e601ddfe200757280f4a1f505ed7c3c87f674abf1b2c17b17784c83399",
    3: "sha256:60ffe684928f1ad522453d3aa2da3251ebfd59bf7eafc8bd853c754005ba968e",
    4: "sha256:7b7bce2d5a7ab883263a56879b0bd5f5be9e20d98a2230594564dc0d0fe8d2bc",
}
"""SHA-256 of each dictionary by its number, from 1."""
NUMBERS = tuple(DIGESTS)
FEATURES = tuple(f"graphs-{number}" for number in NUMBERS)
"""Features that a node reports for these; the cloud sends it nothing that needs another one."""
CODINGS = (NAME, *(f"{NAME}+{feature}" for feature in FEATURES))
"""Names that a manifest may give to a coding that this version decodes."""


@cache
def numbered(number: int) -> bytes:
    """The dictionary of this number.

    Raises:
        Undecodable: this version has no such dictionary. DictionaryChanged: the installed file differs, or is missing.
    """
    if number not in DIGESTS:
        raise Undecodable(
            f"coded bytes: need dictionary {number}, this version has {', '.join(map(str, NUMBERS))}", hint="upgrade the agent"
        )
    place = resources.files("littoral.codec") / f"graphs-{number}.bin"
    body = place.read_bytes() if place.is_file() else b""
    if f"sha256:{sha256(body).hexdigest()}" != DIGESTS[number]:
        raise DictionaryChanged(
            f"dictionary {number}: {place.name} holds {len(body)} bytes that are not those it was made of",
            hint="install the package again",
        )
    return body


def feature_of(coding: str) -> str | None:
    """The feature that a node needs for a coding, one of FEATURES; None where every node decodes it."""
    return coding.removeprefix(f"{NAME}+") if coding != NAME else None


def coding_of(coded: bytes) -> str:
    """The name of the coding of these bytes, which come from `encode`: one of CODINGS."""
    import io

    reader = Reader(io.BytesIO(coded), 1, len(coded))
    reader.varint(1 << 62, "size")
    how = reader.byte()
    return CODINGS[NUMBERS.index(reader.byte()) + 1] if how & HAS_DICTIONARY else NAME
