"""What the dictionaries are made of: another net of the same kind travels with little more than its numbers."""

from __future__ import annotations

import numpy as np
import pytest

from littoral.codec import coding_of, decode, encode
from littoral.codec.dictionary import NUMBERS
from littoral_cloud.export.onnx import FILE
from tools.codec_dictionary import DRAWS, graph


def test_every_dictionary_says_what_it_was_drawn_from() -> None:
    assert tuple(DRAWS) == NUMBERS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "feature"), [("mobilenet_v1", "graphs-1"), ("recurrent_cnn", "graphs-3"), ("pruned_chain", "graphs-4")]
)
def test_another_net_of_the_kind_travels_without_its_graph(family: str, feature: str) -> None:
    file = graph(family, np.random.default_rng(99)).files[FILE]
    plain, coded = encode(file), encode(file, dictionaries=True)
    assert coding_of(coded).endswith(feature)
    assert len(coded) < len(plain) - 250
    assert decode(coded, limit=len(file)) == file
