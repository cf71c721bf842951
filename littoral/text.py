"""Text that came from elsewhere."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text without what could steer a terminal: each such character as \\x1b."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
