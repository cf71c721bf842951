"""A long text in a cell of a table."""

from __future__ import annotations

from littoral_cloud.terminal.text import shortened


def test_a_long_text_is_bounded_and_a_short_one_is_as_it_was() -> None:
    assert shortened("a" * 80, 80) == "a" * 80
    assert shortened("word " * 20, 20) == "word word word wo..."
