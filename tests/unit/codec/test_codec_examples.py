"""The worked examples in the docstrings of the codec are true."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from littoral.codec import coder, mixing, ranks


@pytest.mark.parametrize("module", [coder, mixing, ranks])
def test_the_example_is_what_the_code_does(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
