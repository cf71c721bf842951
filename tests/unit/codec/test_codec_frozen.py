"""Format 1 is frozen: whatever an encoder has written, every later decoder gives back (docs/codec.md, tests/old/codec)."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from littoral.codec import CODINGS, codebook, coding_of, decode, decode_file, encode, plan
from littoral.codec.container import HAS_DICTIONARY, HAS_LENGTH, HAS_PLAN, METHODS, MIXED, STORED, ZSTD, Reader
from littoral.codec.dictionary import NUMBERS

FOLDER = Path(__file__).parents[2] / "old" / "codec"
VECTORS: dict[str, dict[str, Any]] = json.loads((FOLDER / "vectors.json").read_text())
NOT_ENCODED = ("ncnn-bin", "planes-of-8-bytes", "dictionary-1", "dictionary-2", "dictionary-4")
"""One lacks its .param here, one no encoder writes; of the others, which take seconds, one is enough."""


def coded(name: str) -> bytes:
    return (FOLDER / f"{name}.coded").read_bytes()


@pytest.mark.parametrize("name", VECTORS)
def test_what_was_coded_once_decodes_for_ever(name: str, tmp_path: Path) -> None:
    known = VECTORS[name]
    data = decode(coded(name), limit=known["bytes"])
    assert (len(data), hashlib.sha256(data).hexdigest()) == (known["bytes"], known["sha256"])
    assert coding_of(coded(name)) == known["coding"]
    decode_file(FOLDER / f"{name}.coded", tmp_path / "file", limit=known["bytes"])
    assert (tmp_path / "file").read_bytes() == data


@pytest.mark.parametrize("name", [name for name in VECTORS if name not in NOT_ENCODED])
def test_an_encoder_of_today_takes_no_more_bytes(name: str) -> None:
    data = decode(coded(name), limit=VECTORS[name]["bytes"])
    again = encode(data, dictionaries="+" in VECTORS[name]["coding"])
    assert decode(again, limit=len(data)) == data
    assert len(again) <= len(coded(name)) * 1.01


def test_every_feature_of_the_format_is_among_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    books: set[tuple[int, int]] = set()
    parts: list[plan.Part] = []
    read_book, read_plan = codebook.read, plan.read

    def book(reader: Reader, form: int, count: int, width: int) -> codebook.Values:
        books.add((form, width))
        return read_book(reader, form, count, width)

    def planned(reader: Reader, total: int) -> list[tuple[int, plan.Part]]:
        found = read_plan(reader, total)
        parts.extend(part for _, part in found)
        return found

    monkeypatch.setattr(codebook, "read", book)
    monkeypatch.setattr(plan, "read", planned)
    heads: set[int] = set()
    dictionaries: set[int] = set()
    for name, known in VECTORS.items():
        decode(coded(name), limit=known["bytes"])
        reader = Reader(io.BytesIO(coded(name)), 1, len(coded(name)))
        reader.varint(1 << 62, "size")
        how = reader.byte()
        heads.add(how)
        dictionaries |= {reader.byte()} if how & HAS_DICTIONARY else set()
    assert {how & METHODS for how in heads} == {STORED, ZSTD, MIXED}
    assert {(bool(how & HAS_PLAN), bool(how & HAS_LENGTH)) for how in heads} == {(False, False), (True, False), (True, True)}
    assert dictionaries == set(NUMBERS)
    assert {known["coding"] for known in VECTORS.values()} == set(CODINGS)
    ranks = [part for part in parts if isinstance(part, plan.Ranks)]
    assert {part.width for part in parts if isinstance(part, plan.Planes)} == {1, 2, 4, 8}
    assert {part.width for part in ranks} == {codebook.NIBBLE, codebook.ONE, codebook.TWO, codebook.FOUR}
    forms = (codebook.RAW, codebook.RANGE, codebook.SCALED_RANGE, codebook.SCALED, codebook.HALF, codebook.BRAIN)
    assert {form for form, _ in books} == set(forms)
    assert {part.width for part in ranks if part.literals is not None} == {codebook.ONE, codebook.TWO, codebook.FOUR}
    assert {part.steps_first for part in ranks} == {False, True}
    assert {(bool(part.grid.pitch), bool(part.grid.plane)) for part in ranks} >= {(False, False), (True, False), (True, True)}
    assert max(part.grid.groups for part in ranks) > 1
    assert {(part.grid.below > 0, part.grid.above > 0) for part in ranks} == {(False, True), (True, False), (True, True)}
    assert max(part.grid.below for part in ranks) > 16, "of a large codebook, neighbours are looked at roughly"
