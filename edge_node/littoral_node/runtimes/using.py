"""What this agent lets its runtimes use: execution providers, and a folder for what they want to keep.

Settled once, where an agent or a command begins; stored in the environment, so that the processes in which models are tried and
measured run them as the agent will.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from littoral.errors import BadInput

VARIABLE = "LITTORAL_RUNTIMES_USING"
PROVIDERS = ("tensorrt", "cuda", "coreml", "vulkan", "cpu")
"""What a node may allow. Of onnxruntime all but vulkan, which is ncnn's."""
SAFE = ("cuda", "coreml", "vulkan", "cpu")
"""The default, in this order. Not tensorrt: it works for minutes on a model that it has not seen before."""


@dataclass(frozen=True, slots=True)
class Using:
    """`providers` in the order in which they are tried; the CPU is always the last. `cache` None: none is stored."""

    providers: tuple[str, ...] = SAFE
    cache: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "providers", providers_from(self.providers, "providers"))


def providers_from(names: tuple[str, ...], field: str) -> tuple[str, ...]:
    """The names, each once, with the CPU at the end. Raises BadInput, naming the field and what is known."""
    for name in names:
        if name not in PROVIDERS:
            raise BadInput(f"{field}: {name[:40]!r} is not known", hint=f"some of {', '.join(PROVIDERS)}, by comma")
    return (*dict.fromkeys(name for name in names if name != "cpu"), "cpu")


def settle_on(using: Using) -> None:
    """For this process and those that it starts from now on."""
    os.environ[VARIABLE] = json.dumps(
        {"providers": list(using.providers), "cache": None if using.cache is None else str(using.cache.absolute())}
    )


def in_use(environment: Mapping[str, str] = os.environ) -> Using:
    """What was settled on; the defaults where nothing was."""
    if not (text := environment.get(VARIABLE)):
        return Using()
    body = json.loads(text)
    return Using(tuple(body["providers"]), Path(body["cache"]) if body["cache"] else None)
