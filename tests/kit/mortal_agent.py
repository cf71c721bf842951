"""littoral-node whose models end its process: DIE_OF=HEX names the artifacts, by the first digits of their digests, with a
comma. DIE_AT=load kills it as one of them is loaded in the agent itself, DIE_AT=infer as an input with a pixel of 255 comes; with
DIE_AT=stuck that input never comes back, and its runtime has no way to end it. PROVED_S=SECONDS is how long a model has to serve
until it has proved itself.

SIGSEGV comes from outside of Python, as from a runtime's own code: nothing can catch it and nothing is written.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import littoral_node.update.desired as desired
import littoral_node.update.incidents as incidents
import littoral_node.update.load as load
from littoral.manifest import Manifest
from littoral_node.cli import main
from littoral_node.runtimes import Model, Tensor

DEADLY = tuple(filter(None, os.environ.get("DIE_OF", "").split(",")))
WHEN = os.environ.get("DIE_AT", "load")
checked = load.load_checked


class Mortal:
    def __init__(self, model: Model) -> None:
        self._model = model
        self.run, self.close = model.run, model.close

    def infer(self, x: Tensor) -> Tensor:
        if float(x.max()) == 1.0 and WHEN == "stuck":
            threading.Event().wait()
        if float(x.max()) == 1.0:
            os.kill(os.getpid(), signal.SIGSEGV)
        return self._model.infer(x)


def load_checked(manifest: Manifest, folder: Path, threads: int) -> Model:
    if not folder.name.startswith(DEADLY):
        return checked(manifest, folder, threads)
    if WHEN == "load":
        os.kill(os.getpid(), signal.SIGSEGV)
    return Mortal(checked(manifest, folder, threads))


if __name__ == "__main__":
    load.load_checked = load_checked
    desired.PROVED_S = incidents.PROVED_S = float(os.environ.get("PROVED_S", "60"))
    main()
