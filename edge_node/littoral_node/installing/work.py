"""The steps of a command, which can be printed instead of run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InstallStep:
    """`action` names it, in the imperative; `run` does it, and may return the outcome for people."""

    action: str
    run: Callable[[], str | None]


def carried_out(steps: Iterable[InstallStep], report: Callable[[str, str], None], *, dry: bool) -> None:
    """Runs the steps in their order; the first that raises ends them.

    Args:
        report: receives the action and the outcome of each step.
        dry: report the steps, and run none.
    """
    for step in steps:
        report(step.action, "" if dry else step.run() or "")
