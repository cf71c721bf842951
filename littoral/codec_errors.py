"""The codec's errors as errors of Littoral's family, with a code, a hint and an exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from littoral.codec.errors import CodecError, DictionaryChanged, OverLimit
from littoral.errors import BadInput, FleetError, TooLarge


class BadCoding(BadInput):
    """Coded bytes are damaged, cut, or not what this version reads."""

    code = "bad-coding"


class DamagedDictionary(FleetError):
    """A dictionary that ships with the package is not what it was when it was made."""

    code = "damaged-dictionary"


@contextmanager
def codec_errors() -> Iterator[None]:
    """Around every call of littoral.codec. Raises TooLarge, BadCoding or DamagedDictionary."""
    try:
        yield
    except CodecError as error:
        kind: type[FleetError] = BadCoding
        if isinstance(error, OverLimit):
            kind = TooLarge
        elif isinstance(error, DictionaryChanged):
            kind = DamagedDictionary
        raise kind(error.message, hint=error.hint) from error
