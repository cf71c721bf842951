"""What can wait asks first whether something more urgent is going on, as the desired states of a wave that go down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Calm = Callable[[], Awaitable[None]]
"""Returns when nothing goes before; soon in any case."""


async def at_once() -> None:
    """A Calm of a process in which nothing does."""
