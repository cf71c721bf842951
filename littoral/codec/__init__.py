"""Transfer coding: makes a file smaller for its way to a node, and gives it back bit for bit.

    coded = encode(data)
    data == decode(coded, limit=len(data))

A library of its own: it imports nothing else of Littoral and raises its own errors (littoral/codec_errors.py translates them).
Format 1 is frozen: `docs/codec.md` gives it byte by byte, `tests/old/codec` holds coded bytes that every version decodes.

Both sides decode and encode: the files of every artifact (littoral.manifest.Transfer names the coded blob) and the messages of
federated runs. Only the cloud runs the slow search for the smallest code (`encode_files`, choice.py, find.py); it stays here, for
encoder and decoder share each model and are tested together. zstandard and constriction are imported where they are used.
"""

from __future__ import annotations

from littoral.codec.container import NAME, is_coded
from littoral.codec.decoding import decode, decode_file
from littoral.codec.dictionary import CODINGS, FEATURES, coding_of, feature_of
from littoral.codec.encoding import encode, encode_files
from littoral.codec.errors import CodecError, DictionaryChanged, OverLimit, Undecodable

__all__ = [
    "CODINGS",
    "FEATURES",
    "NAME",
    "CodecError",
    "DictionaryChanged",
    "OverLimit",
    "Undecodable",
    "coding_of",
    "decode",
    "decode_file",
    "encode",
    "encode_files",
    "feature_of",
    "is_coded",
]
