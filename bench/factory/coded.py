"""How many bytes of an artifact travel."""

from __future__ import annotations

import pkgutil
from dataclasses import replace

from cloud.export.exported import Exported
from littoral import codec

CODED = ("bench.factory.coded", *sorted(f"littoral.codec.{part.name}" for part in pkgutil.iter_modules(codec.__path__)))
"""The modules that decide how many."""


def travels(artifact: Exported) -> int:
    """Each file as the codec writes it for a node that has nothing yet."""
    return sum(len(codec.encode(content)) for content in artifact.files.values())


def decoded(artifact: Exported) -> Exported:
    """The artifact as a node has it: what was coded, read again."""
    files = {name: codec.decode(codec.encode(content), limit=len(content)) for name, content in artifact.files.items()}
    return replace(artifact, files=files)
