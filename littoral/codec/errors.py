"""What the codec raises. It is a library of its own: littoral/codec_errors.py makes errors of Littoral's family of these."""

from __future__ import annotations


class CodecError(Exception):
    """Base of the codec's errors.

    Args:
        message: what is wrong with the bytes.
        hint: what the reader's operator can do about it.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Undecodable(CodecError):
    """Coded bytes are damaged, cut, or not what this version reads."""


class OverLimit(CodecError):
    """Coded bytes would decode to more than the caller takes."""


class DictionaryChanged(CodecError):
    """A dictionary that ships with the package is not what it was when it was made."""
