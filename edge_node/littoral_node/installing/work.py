"""What a command is going to do, as a list that can be printed in place of being done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """`words` say what it does, in the imperative; `run` does it, and may say what came of it."""

    words: str
    run: Callable[[], str | None]


def carried_out(steps: Iterable[Step], say: Callable[[str, str], None], *, dry: bool) -> None:
    """Each in its turn; the first that raises ends it.

    Args:
        say: told of each step, its words and what came of it.
        dry: they are said, and nothing is done.
    """
    for step in steps:
        came = "" if dry else step.run() or ""
        say(step.words, came)
