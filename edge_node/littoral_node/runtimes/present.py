"""Looks at the runtimes that are here, child of facts.py: {"name"} is answered with {"facts", "reason"}."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from littoral.errors import RuntimeFailure
from littoral.process.child import Answer, serve
from littoral_node.runtimes import look


def prepare(settings: dict[str, Any]) -> tuple[Answer, dict[str, Any]]:
    def answer(head: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            return {"facts": asdict(look(head["name"])), "reason": ""}, {}
        except RuntimeFailure as error:
            return {"facts": None, "reason": error.message}, {}
        except Exception as error:  # noqa: BLE001 - a foreign library that fails while it is loaded is not usable
            return {"facts": None, "reason": f"cannot be imported: {error}"}, {}

    return answer, {}


if __name__ == "__main__":
    serve(prepare)
