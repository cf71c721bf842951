"""Transfer coding: a file travels smaller than it lies on the disk, and comes back bit for bit.

    coded = encode(data)
    data == decode(coded, limit=len(data))

Both sides use it: for the files of every artifact (littoral.manifest.Transfer names the coded blob) and for the messages of
federated runs. `docs/codec.md` gives the format byte by byte. zstandard and constriction are imported where they are used.
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
