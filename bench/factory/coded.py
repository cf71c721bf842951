"""How many bytes of an artifact travel."""

from __future__ import annotations

import pkgutil
from dataclasses import replace

from littoral import codec
from littoral_cloud.export.exported import Exported

CODED = ("bench.factory.coded", *sorted(f"littoral.codec.{part.name}" for part in pkgutil.iter_modules(codec.__path__)))
"""The modules that decide how many."""


def travels(artifact: Exported, *, dictionaries: bool = True) -> int:
    """Each file as the codec writes it for a node that has the dictionary of graphs, which ships with the agent and holds no
    trained weight; or for one that has nothing at all."""
    return sum(len(codec.encode(content, dictionaries=dictionaries)) for content in artifact.files.values())


def decoded(artifact: Exported) -> Exported:
    """The artifact as a node has it: what was coded, read again."""
    files = {
        name: codec.decode(codec.encode(content, dictionaries=True), limit=len(content))
        for name, content in artifact.files.items()
    }
    return replace(artifact, files=files)
