"""Text from elsewhere, made safe for a terminal and a log."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with every character that could control a terminal written as \\x1b."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
