"""Loads one model, tries it on its probe, and answers for it, in a process of its own: the child of isolated/model.py.

Its settings name the folder of an artifact that the parent has verified. READY, {"memory_bytes"}, means that the model is loaded
and right on its probe. Then each call, {"do": "infer" | "run"} with the inputs, is answered with the outputs.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest
from littoral.process.child import Answer, allow_memory, memory, serve
from littoral_node.artifacts.manifest_file import ENVELOPE, payload_of
from littoral_node.artifacts.probe import check_probe
from littoral_node.machine.memory import added, reset_peak, settle
from littoral_node.runtimes import Array, Model, opened, version

_OWN = 64_000_000
_A_THREAD = 16_000_000
"""Bytes that a child may take beside its model's: what the interpreter allocates, stacks."""


def prepare(settings: dict[str, Any]) -> tuple[Answer, dict[str, Any]]:
    os.umask(0o077)
    folder, threads = Path(settings["folder"]), settings["threads"]
    manifest = Manifest.decode(payload_of((folder / ENVELOPE).read_bytes()))
    with suppress(ImportError, KeyError):  # no such runtime: `opened` explains it better
        version(manifest.runtime)
        allow_memory(settings["memory"] + _OWN + _A_THREAD * threads)  # on top of the runtime's library
    model, taken = _loaded(manifest, folder, threads)
    settle()

    def answer(head: dict[str, Any], arrays: dict[str, Array]) -> tuple[dict[str, Any], dict[str, Array]]:
        try:
            return {}, {"": model.infer(arrays[""])} if head["do"] == "infer" else dict(model.run(arrays))
        except MemoryError as error:
            raise RuntimeFailure("the memory that it may take is not enough") from error

    return answer, {"memory_bytes": taken}


def _loaded(manifest: Manifest, folder: Path, threads: int) -> tuple[Model, int]:
    """A model that is right on its probe, and the bytes that it added at its peak.

    It is loaded once before, uncounted: what the runtime's library takes at its first use is no model's.
    """
    first = opened(manifest, folder, threads)
    check_probe(first, manifest)
    first.close()
    settle()
    reset_peak()
    before = memory()
    model = opened(manifest, folder, threads)
    check_probe(model, manifest)
    return model, added(before, memory())


if __name__ == "__main__":
    serve(prepare)
