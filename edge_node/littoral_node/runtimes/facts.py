"""What a runtime is on this machine: found out in a child process, because a library that is not for this CPU ends its process,
and each takes 3 to 20 MB that an agent which serves with another one need not hold. One child looks at all of them, for most of
the work is its start; where one of them ends it, those that it did not come to get a child each.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

_IMPORT_S = 60.0
_NAME = "runtime"


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


def line_of(name: str, verdict: Verdict) -> str:
    """As a child says it, on a line of its own: libraries print, too."""
    facts, reason = verdict
    return json.dumps({_NAME: name, "facts": None if facts is None else asdict(facts), "reason": reason})


def looked_up(names: Iterable[str]) -> dict[str, Verdict]:
    """By name."""
    wanted = tuple(names)
    found, why = _ended(_child(*wanted))
    if len(wanted) == 1:
        return {name: found.get(name, (None, why)) for name in wanted}
    # Whichever ended it may be right by itself.
    return {name: found[name] if name in found else looked_up((name,))[name] for name in wanted}


def _child(*names: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (sys.executable, "-m", "littoral_node.runtimes.present", *names),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ended(child: subprocess.Popen[str]) -> tuple[dict[str, Verdict], str]:
    """What it found, and why it found no more."""
    with child:
        try:
            printed, errors = child.communicate(timeout=_IMPORT_S)
            why = _why(child.returncode, errors)
        except subprocess.TimeoutExpired:
            child.kill()
            printed, _ = child.communicate()
            why = f"was not imported after {_IMPORT_S:.0f} s"
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith(f'{{"{_NAME}": ')]
    return {line[_NAME]: (Facts.from_json(line["facts"]) if line["facts"] else None, line["reason"]) for line in lines}, why


def _why(code: int, errors: str) -> str:
    if code < 0:
        return f"its import ended with {signal.Signals(-code).name}: it is not built for this machine"
    return (errors.strip().splitlines() or [f"exit code {code}"])[-1]
