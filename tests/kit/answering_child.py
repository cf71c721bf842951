"""A child of littoral.process that does as its call says: {"do": "echo" | "refuse" | "grow" | "write" | "print" | "pid"}."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from littoral.errors import BadInput, FleetError
from littoral.process.child import Answer, serve


def prepare(settings: dict[str, Any]) -> tuple[Answer, dict[str, Any]]:
    if "refuse" in settings:
        raise FleetError.with_code(settings["refuse"], "it cannot be ready")
    return answer, {"settings": settings, "nice": os.nice(0)}


def answer(head: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    match head["do"]:
        case "refuse":
            raise BadInput("x: is wrong", hint="give another")
        case "grow":
            return {}, {"large": np.zeros(head["bytes"], np.uint8)}
        case "write":
            for number in range(head["lines"]):
                sys.stderr.write(f"line {number} {'x' * 90}\n")
            if head.get("end"):
                os.abort()
        case "print":
            print("what a library prints goes to stderr", flush=True)
    return {"pid": os.getpid()}, arrays


if __name__ == "__main__":
    serve(prepare)
