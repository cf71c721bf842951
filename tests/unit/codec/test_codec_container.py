"""Coded bytes from a friend come back bit for bit; those from an enemy end in a clear error, within the bytes allowed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.codec import CodecError, DictionaryChanged, OverLimit, Undecodable, decode, decode_file, encode, is_coded
from littoral.codec.container import HAS_DICTIONARY, MAGIC, MIXED, STORED, ZSTD, Reader, varint
from littoral.codec_errors import BadCoding, DamagedDictionary, codec_errors
from littoral.errors import FleetError, TooLarge


def numpy_file(array: np.ndarray) -> bytes:  # type: ignore[type-arg]
    place = io.BytesIO()
    np.save(place, array)
    return place.getvalue()


def sparse(seed: int, shape: tuple[int, ...], values: int = 8, share: float = 0.1) -> np.ndarray:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    book = np.concatenate([[0], rng.normal(size=values)]).astype(np.float32)
    return book[np.where(rng.random(shape) < share, rng.integers(1, values + 1, shape), 0)]


SAMPLE = encode(numpy_file(sparse(1, (24, 20))))


@settings(deadline=None)
@given(st.binary(max_size=600), st.booleans())
def test_any_bytes_come_back(data: bytes, quick: bool) -> None:
    coded = encode(data, quick=quick)
    assert decode(coded, limit=len(data)) == data
    assert len(coded) <= len(data) + 16


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([(64,), (30, 40), (16, 3, 5, 5), (9, 16, 2)]), st.sampled_from([1, 2, 15, 16, 200]))
def test_arrays_of_few_values_come_back(seed: int, shape: tuple[int, ...], values: int) -> None:
    data = numpy_file(sparse(seed, shape, values, 0.3))
    assert decode(encode(data), limit=len(data)) == data


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_changed_byte_ends_in_an_error_or_in_other_bytes_of_no_more_than_the_limit(data: st.DataObject) -> None:
    coded = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(1, 4))):
        coded[data.draw(st.integers(0, len(coded) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(coded)))
    try:
        assert len(decode(bytes(coded[: cut or None]), limit=5000)) <= 5000
    except (Undecodable, OverLimit):
        return


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_behind_the_first_byte_ends_in_a_clear_error(data: bytes) -> None:
    try:
        assert len(decode(bytes([MAGIC]) + data, limit=10_000)) <= 10_000
    except (Undecodable, OverLimit):
        return


def test_more_than_the_limit_is_refused_before_anything_is_decoded() -> None:
    with pytest.raises(OverLimit, match="1000000 bytes, at most 999"):
        decode(encode(bytes(1_000_000)), limit=999)


def test_a_bomb_stops_at_what_it_declares() -> None:
    bomb = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(
            compression_level=1, window_log=20, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=False
        )
    ).compress(bytes(50_000_000))
    with pytest.raises(Undecodable, match="more"):
        decode(bytes([MAGIC]) + varint(100) + bytes([ZSTD]) + bomb, limit=100)


def test_a_window_that_a_small_node_has_no_memory_for_is_refused() -> None:
    wide = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(
            compression_level=1, window_log=27, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=False
        )
    ).compress(bytes(5_000_000))
    with pytest.raises(Undecodable):
        decode(bytes([MAGIC]) + varint(5_000_000) + bytes([ZSTD]) + wide, limit=5_000_000)


def test_what_a_later_version_may_write_is_refused_by_name() -> None:
    with pytest.raises(Undecodable, match="need dictionary 100, this version has 1, 2") as refused:
        decode(bytes([MAGIC, 1, MIXED | HAS_DICTIONARY, 100, 65]), limit=1)
    assert refused.value.hint == "upgrade the agent"
    with pytest.raises(Undecodable, match="a dictionary for method 0"):
        decode(bytes([MAGIC, 1, STORED | HAS_DICTIONARY, 1, 65]), limit=1)
    with pytest.raises(Undecodable, match="flags"):
        decode(bytes([MAGIC, 1, STORED | 0x80, 65]), limit=1)
    with pytest.raises(Undecodable, match="method 6"):
        decode(bytes([MAGIC, 1, 6, 65]), limit=1)
    with pytest.raises(Undecodable, match="begin with 0x41"):
        decode(b"A", limit=1)


@pytest.mark.parametrize("tail", [b"", b"AB"])
def test_text_that_is_shorter_or_longer_than_declared_is_refused(tail: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(bytes([MAGIC, 1, STORED]) + tail, limit=10)


@pytest.mark.parametrize(
    ("raised", "kind"), [(Undecodable, BadCoding), (OverLimit, TooLarge), (DictionaryChanged, DamagedDictionary)]
)
def test_an_error_of_the_codec_has_a_code_and_a_hint_for_an_operator(raised: type[CodecError], kind: type[FleetError]) -> None:
    with pytest.raises(kind, match="why") as error, codec_errors():
        raise raised("why", hint="what helps")
    assert error.value.hint == "what helps"


def test_a_file_decodes_into_a_file(tmp_path: Path) -> None:
    data = numpy_file(sparse(2, (50, 60))) + numpy_file(np.random.default_rng(0).normal(size=(80, 90)).astype(np.float32))
    (tmp_path / "coded").write_bytes(encode(data))
    decode_file(tmp_path / "coded", tmp_path / "file", limit=len(data))
    assert (tmp_path / "file").read_bytes() == data


def test_what_is_coded_is_told_from_a_message_that_is_not() -> None:
    assert is_coded(encode(b""))
    assert not is_coded(b"\x0a\x02ab")
    assert not is_coded(b"")


@given(st.integers(0, 1 << 40))
def test_a_varint_comes_back(value: int) -> None:
    data = varint(value)
    assert Reader(io.BytesIO(data), 0, len(data)).varint(1 << 40, "value") == value


def test_a_varint_that_never_ends_or_is_too_large_is_refused() -> None:
    with pytest.raises(Undecodable, match="size is over 99"):
        Reader(io.BytesIO(b"\xff" * 20), 0, 20).varint(99, "size")
    with pytest.raises(Undecodable, match="cut at byte 1"):
        Reader(io.BytesIO(b"\x81"), 0, 1).varint(999, "size")
