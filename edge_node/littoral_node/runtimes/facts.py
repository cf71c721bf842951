"""What a runtime is on this machine. A child process finds it out, because a library that is not for this CPU ends its process,
and because each takes 3 to 20 MB, which an agent that serves with another one need not spend.

One child looks at all of them, for most of the work is its start. Where one of them ends it, each of the rest gets a child.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from littoral.process.worker import BlockingWorker, ChildDied, ChildHung

IMPORT_S = 60.0


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a runtime, or something that it could run on, cannot be used here, and the way out."""

    name: str
    reason: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}; {self.way_out}"


@dataclass(frozen=True, slots=True)
class Facts:
    """`highest_ir` and `highest_opset` are of ONNX, found by loading tiny models; 0: it takes no ONNX."""

    version: str
    highest_ir: int = 0
    highest_opset: int = 0
    devices: tuple[str, ...] = ("cpu",)  # that it runs on here, in the order in which they are tried
    lacking: tuple[Missing, ...] = ()  # what else it could run on

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Facts:
        """Of what `asdict` gave."""
        lacking = tuple(Missing(**missing) for missing in body["lacking"])
        return cls(**{**body, "devices": tuple(body["devices"]), "lacking": lacking})


Verdict = tuple[Facts | None, str]
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
        worker = BlockingWorker("littoral_node.runtimes.present", {}, what="its import")
        try:
            worker.ready(limit_s)
            for name in names:
                body, _ = worker.call({"name": name}, {}, limit_s=limit_s)
                found[name] = (Facts.from_json(body["facts"]) if body["facts"] else None, body["reason"])
        finally:
            worker.end()
    except (ChildDied, ChildHung) as error:
        return found, f"{error.message} (is it built for this machine?)"
    return found, ""
