"""What a runtime is on this machine. A child process finds it out, because a library that is not for this CPU ends its process,
and because each takes 3 to 20 MB, which an agent that serves with another one need not spend.

One child looks at all of them, for most of the work is its start. Where one of them ends it, each of the rest gets a child.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from littoral.decoder import decode
from littoral.errors import BadInput
from littoral.process.worker import BlockingWorker, ChildDied, ChildHung, WorkerSpec
from littoral_node.machine.runtime_facts import RuntimeFacts

IMPORT_S = 60.0


@dataclass(frozen=True, slots=True)
class _Look:
    """What the child answers for one runtime."""

    facts: RuntimeFacts | None
    reason: str


Verdict = tuple[RuntimeFacts | None, str]
"""(facts, ""), or (None, the reason)."""


def looked_up(names: Iterable[str], *, limit_s: float = IMPORT_S) -> dict[str, Verdict]:
    """By name. `limit_s`: for each."""
    desired = tuple(names)
    found, why = _by_one_child(desired, limit_s)
    if len(desired) == 1:
        return {name: found.get(name, (None, why)) for name in desired}
    # The one that ended the child may be right by itself.
    return {name: found[name] if name in found else looked_up((name,), limit_s=limit_s)[name] for name in desired}


def _by_one_child(names: tuple[str, ...], limit_s: float) -> tuple[dict[str, Verdict], str]:
    """What it found, and why it found no more."""
    found: dict[str, Verdict] = {}
    try:
        worker = BlockingWorker(WorkerSpec("littoral_node.runtimes.present", {}, what="its import"))
        try:
            worker.ready(limit_s)
            for name in names:
                body, _ = worker.call({"name": name}, {}, limit_s=limit_s)
                look = decode(_Look, body, f"runtime {name}")
                found[name] = (look.facts, look.reason)
        finally:
            worker.end()
    except (ChildDied, ChildHung, BadInput) as error:
        return found, f"{error.message} (is it built for this machine?)"
    return found, ""
