"""Runs a coroutine inline, without a task, until it waits for something: most requests never wait.

try:
    waits_for = coroutine.send(None)
except StopIteration as done:
    ...  # the result, done.value: no task was needed
else:
    task = loop.create_task(rest_of(coroutine, waits_for))
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


async def rest_of(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> T:
    """Runs the rest of a coroutine that was started by `send(None)` and waits for something.

    Args:
        waits_for: what `coroutine.send(None)` returned.
    """
    return await _rest_of(coroutine, waits_for)


@types.coroutine
def _rest_of(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    resume: Callable[[Any], Any]
    argument: Any
    while True:
        try:
            given = yield waits_for
        except BaseException as error:  # noqa: BLE001 - passed on, a cancellation too
            resume, argument = coroutine.throw, error
            waits_for = None  # it refers to the error, and the error to this frame: a circle with the complete request in it
        else:
            resume, argument = coroutine.send, given
        try:
            waits_for = resume(argument)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            argument = None
