"""What a table has made so far, under build/bench/factory/TABLE: finished rows, checkpoints, and what each training took.

A finished row is not made again while its settings and the code that it names stay the same; comments and docstrings are not
code. A training that the code's change did not touch goes on from its checkpoint, whatever becomes of the row (its key is
Trainer.key), and counts with the seconds that it took when it ran.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from littoral.digest import digest_of
from littoral_cloud.training.checkpoint import Checkpoints
from littoral_cloud.training.schedule import Step

ROOT = Path("build/bench/factory")
_TOLD_EVERY_S = 10.0
_WRITTEN_EVERY_S = 3.0

Row = dict[str, Any]
"""JSON values."""


class Kept:
    """One table's own folder."""

    def __init__(self, table: str, *, root: Path = ROOT, clock: Callable[[], float] = time.perf_counter) -> None:
        self.folder = root / table
        self.checkpoints = Checkpoints(self.folder / "checkpoints", every=1000)
        self.watch = Watch(self.folder / "seconds.json", clock)
        self._clock = clock
        self.seconds = 0.0  # of all rows asked for so far, from nothing

    def row(
        self,
        name: str,
        settings: Mapping[str, Any],
        code: Sequence[str],
        make: Callable[[], Row],
        *,
        trainings: Sequence[str] = (),
    ) -> Row:
        """The row of this name, made now or earlier.

        Args:
            settings: all that decides it, as JSON values.
            code: the modules that decide it, by name.
            trainings: names of the trainings that are made for this row alone: their seconds count, though they may be done.
        """
        key = digest_of(json.dumps([settings, [code_digest(module) for module in code]], sort_keys=True, default=str).encode())
        place = self.folder / "rows" / f"{name}.json"
        found = json.loads(place.read_text()) if place.is_file() else {}
        if found.get("key") == key:
            tell(f"{self.folder.name}: {name} is kept")
        else:
            began, trained = self._clock(), self.watch.ran
            row = make()
            rest = self._clock() - began - (self.watch.ran - trained)
            seconds = rest + sum(self.watch.of(training) for training in trainings)
            found = {"key": key, "seconds": round(seconds, 2), "row": row}
            write(place, found)
            tell(f"{self.folder.name}: {name} done in {seconds:.0f} s")
        self.seconds += found["seconds"]
        return dict(found["row"])


class Watch:
    """A training's Progress: says on stderr how far it is, and remembers how long each took, killed in between or not."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        self._path, self._clock = path, clock
        self._seconds: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
        self._last: tuple[str, float] | None = None
        self._told = self._written = clock()
        self.ran = 0.0  # seconds of training since this object was made

    def of(self, training: str) -> float:
        """Seconds of a training over all runs. What lies before its first step counts with the row."""
        return self._seconds.get(training, 0.0)

    def __call__(self, step: Step) -> None:
        now = self._clock()
        if step.step == 1:
            self._seconds[step.name] = 0.0  # it began anew
        if self._last is not None and self._last[0] == step.name and step.step > 1:
            passed = now - self._last[1]
            self._seconds[step.name] = self.of(step.name) + passed
            self.ran += passed
        self._last = (step.name, now)
        if step.step == step.steps or now - self._written > _WRITTEN_EVERY_S:
            self._written = now
            write(self._path, self._seconds)
        if step.step == step.steps or now - self._told > _TOLD_EVERY_S:
            self._told = now
            tell(f"  {step.name}: step {step.step} of {step.steps}, loss {step.loss:.4f}, {self.of(step.name):.0f} s")


def write(path: Path, value: Any) -> None:
    """JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")  # two processes may make rows of one table
    part.write_text(json.dumps(value, indent=1, default=str))
    part.replace(path)


def tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def code_digest(module: str) -> str:
    """Of what a module does: its syntax tree without docstrings."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(module)
    tree = ast.parse(Path(found.origin).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, False
        ):
            node.body = node.body[1:]
    return digest_of(ast.dump(tree).encode())
