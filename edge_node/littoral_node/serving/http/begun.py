"""Coroutines that are begun by hand: most of them end without waiting, and need no task."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


async def continued(begun: Coroutine[Any, Any, T], waits_for: Any) -> T:
    """What is left of a coroutine that was begun by hand and waits for something.

    Args:
        waits_for: what `begun.send(None)` gave.
    """
    return await _rest_of(begun, waits_for)


@types.coroutine
def _rest_of(begun: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    resume: Callable[[Any], Any]
    argument: Any
    while True:
        try:
            given = yield waits_for
        except BaseException as error:  # noqa: BLE001 - handed on, a cancellation too
            resume, argument = begun.throw, error
            waits_for = None  # it holds the error, which holds this frame: a circle, and in it the whole request
        else:
            resume, argument = begun.send, given
        try:
            waits_for = resume(argument)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            argument = None
