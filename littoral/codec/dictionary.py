"""Dictionaries that ship with the agent: graphs of our architectures, without weights, so that a graph need not travel whole.

A text that is mixed (text.py) may be coded by a model that has read one of these first. Coded bytes name it by its number. A
dictionary never changes, for what was coded with it must be read for ever: another one gets another number. How they are made:
`python tools/codec_dictionary.py`.
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
"""Of each dictionary, by number, from 1."""
NUMBERS = tuple(DIGESTS)
FEATURES = tuple(f"graphs-{number}" for number in NUMBERS)
"""What a node says of itself that has them; its cloud sends it nothing that asks for another one."""
CODINGS = (NAME, *(f"{NAME}+{feature}" for feature in FEATURES))
"""What a manifest may call a coding that this version reads."""


@cache
def numbered(number: int) -> bytes:
    """The dictionary of this number.

    Raises:
        Undecodable: this version has none of this number. DictionaryChanged: it was changed, or is not installed.
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
    """What a node must have to read a coding, one of FEATURES; None where any node reads it."""
    return coding.removeprefix(f"{NAME}+") if coding != NAME else None


def coding_of(coded: bytes) -> str:
    """What a manifest calls the coding of these bytes, which `encode` gave: one of CODINGS."""
    import io

    reader = Reader(io.BytesIO(coded), 1, len(coded))
    reader.varint(1 << 62, "size")
    how = reader.byte()
    return CODINGS[NUMBERS.index(reader.byte()) + 1] if how & HAS_DICTIONARY else NAME
