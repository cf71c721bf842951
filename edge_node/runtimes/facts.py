"""What a runtime is on this machine: found out in a child process each, because a library that is not for this CPU ends its
process, and each takes 3 to 20 MB that an agent which serves with another one need not hold.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass

_IMPORT_S = 60.0


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

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Facts:
        body = json.loads(text)
        lacking = tuple(Missing(**missing) for missing in body.pop("lacking"))
        return cls(**{**body, "devices": tuple(body["devices"])}, lacking=lacking)


Verdict = tuple[Facts | None, str]
"""(facts, ""), or (None, the reason)."""


def looked_up(names: Iterable[str]) -> dict[str, Verdict]:
    """By name; the children run side by side."""
    children = {
        name: subprocess.Popen(
            (sys.executable, "-m", "edge_node.runtimes.present", name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    }
    return {name: _verdict(child) for name, child in children.items()}


def _verdict(child: subprocess.Popen[str]) -> Verdict:
    with child:
        try:
            printed, errors = child.communicate(timeout=_IMPORT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            return None, f"was not imported after {_IMPORT_S:.0f} s"
    if child.returncode < 0:
        return None, f"its import ended with {signal.Signals(-child.returncode).name}: it is not built for this machine"
    if child.returncode > 0:
        return None, (errors.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
    return Facts.from_json(printed.strip().splitlines()[-1]), ""
