"""Graphs that ship with the agent: a graph of their kind costs little, and what needs them says so."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.codec import (
    CODINGS,
    NAME,
    DictionaryChanged,
    OverLimit,
    Undecodable,
    coding_of,
    decode,
    encode,
    encode_files,
    feature_of,
)
from littoral.codec import dictionary as dictionaries
from littoral.codec.dictionary import DIGESTS, NUMBERS, numbered
from littoral.codec.encoding import text_of
from littoral.digest import digest_of

GRAPH = Path(__file__).parent / "graph.onnx"
"""A folded mobilenet_v1 of 28x28 pixels: stem 8, widths 12, 16, 16, nothing between its convolutions; weights of 9 values."""
OLD = Path(__file__).parent / "graph.littoral-1"
"""The same, coded by the version before dictionaries."""


def test_a_graph_of_their_kind_travels_in_a_few_dozen_bytes() -> None:
    file = GRAPH.read_bytes()
    plain, coded = encode(file), encode(file, dictionaries=True)
    assert decode(coded, limit=len(file)) == file
    assert (coding_of(plain), feature_of(coding_of(plain))) == (NAME, None)
    assert (coding_of(coded), feature_of(coding_of(coded))) == (f"{NAME}+graphs-1", "graphs-1")
    assert len(coded) < len(plain) - 150
    assert encode_files({"model.onnx": file}, dictionaries=True)["model.onnx"] == coded


def test_what_was_coded_before_there_were_dictionaries_is_read_and_written_as_then() -> None:
    assert decode(OLD.read_bytes(), limit=1 << 20) == GRAPH.read_bytes()
    assert encode(GRAPH.read_bytes()) == OLD.read_bytes()


def test_what_a_model_learns_from_a_text_never_changes() -> None:
    coded = encode(GRAPH.read_bytes(), dictionaries=True)
    assert digest_of(coded) == "sha256:9f5197b56dcfceb844d1d8fac7e1724280c4cee115d3982f1ea7d63930e9dfe4"


@pytest.mark.parametrize("number", NUMBERS)
def test_dictionaries_are_what_they_were_when_they_were_made(number: int) -> None:
    body = numbered(number)
    assert 1000 < len(body) < 5000, "a node reads all of it before it decodes"


def test_a_dictionary_that_was_changed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    coded = encode(GRAPH.read_bytes(), dictionaries=True)
    monkeypatch.setattr(dictionaries, "DIGESTS", {1: DIGESTS[2]})
    numbered.cache_clear()
    with pytest.raises(DictionaryChanged, match=r"dictionary 1: graphs-1\.bin holds"):
        decode(coded, limit=1 << 20)
    numbered.cache_clear()


def test_an_agent_without_the_dictionary_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    coded = encode(GRAPH.read_bytes(), dictionaries=True)
    monkeypatch.setattr(dictionaries, "DIGESTS", {2: DIGESTS[2]})
    monkeypatch.setattr(dictionaries, "NUMBERS", (2,))
    numbered.cache_clear()
    with pytest.raises(Undecodable, match="need dictionary 1, this version has 2") as refused:
        decode(coded, limit=1 << 20)
    assert refused.value.hint == "upgrade the agent"


def test_every_dictionary_has_a_coding_of_its_own_and_holds_graphs() -> None:
    assert set(CODINGS) == {NAME, *(f"{NAME}+graphs-{number}" for number in NUMBERS)}
    for number in NUMBERS:
        assert {b"Conv", b"input"} <= {word for word in (b"Conv", b"input") if word in numbered(number)}


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_changed_byte_ends_in_an_error_or_in_no_more_than_the_limit(data: st.DataObject) -> None:
    coded = bytearray(CODED)
    coded[data.draw(st.integers(0, len(coded) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert len(decode(bytes(coded), limit=30_000)) <= 30_000
    except (Undecodable, OverLimit):
        return


CODED = encode(GRAPH.read_bytes(), dictionaries=True)


def test_text_without_a_graph_needs_no_dictionary() -> None:
    noise = base64.b85encode(np.random.default_rng(1).bytes(300))
    assert coding_of(encode(noise, dictionaries=True)) == NAME


def test_the_text_of_a_file_is_what_is_no_array() -> None:
    file = GRAPH.read_bytes()
    assert b"input" in text_of(file)
    assert len(text_of(file)) < len(file) / 3
