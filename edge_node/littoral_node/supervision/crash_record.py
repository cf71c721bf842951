"""Which model counts a crash of the agent: the agent ended without a message, and this is its next start.

The agent writes DIR/crashes.json before it loads a model, when the model is loaded, when it has proved itself, and at an orderly
end: a few writes a start, none a request. At the next start:

    1. The machine restarted: no model counts. A power cut is no fault of a model, nor does the end of the agent from
       whose folder this one was copied.
    2. "blamed" names a model: it was being loaded, or hung and could not be ended. It alone counts.
    3. Else every model that had not proved itself counts.
    4. A model whose update counts the crash (littoral_node.update.state) does not count here.
    5. What was served is reported in every case.

Crashes count in a row: a model that has proved itself starts again at 0. What follows from a count, and the limit:
failures.py.

Example: the agent ends while it loads artifact B beside a proved A: B has 1 crash, A none. It happens twice more: B is given up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from littoral.errors import FleetError
from littoral_node.identity.files import Damaged, ignore_damage, read_record, write_record
from littoral_node.supervision.failures import CRASHES, gives_up

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class CrashCount:
    """Of one model that is loaded here; `crashes` of the agent in a row."""

    manifest_digest: str
    proved: bool = False
    crashes: int = 0


@dataclass(frozen=True, slots=True)
class Blamed:
    """`doing`: "was loaded" or "hung"."""

    model: str
    manifest_digest: str
    doing: str


@dataclass(frozen=True, slots=True)
class Book:
    """`machine`: which start of the machine it was written in. `clean`: the agent ended in good order after that."""

    machine: str = ""
    clean: bool = True
    ends: int = 0  # crashes, since the last end in good order
    blamed: Blamed | None = None
    models: Mapping[str, CrashCount] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Crash:
    """What the last end of the agent means for one model.

    Args:
        crashes: in a row, of this model that had not proved itself; 0: this one is not counted against it.
        ends: crashes of the agent, with this one, since the last end in good order.
    """

    manifest_digest: str
    doing: str
    crashes: int
    ends: int

    def __str__(self) -> str:
        counted = f"counted against it: {self.crashes} of {CRASHES}" if self.crashes else "not counted against it"
        return f"the agent crashed (number {self.ends}) while {self.manifest_digest[:19]} {self.doing}; {counted}"


def reopened(book: Book, machine: str, trying: Mapping[str, str]) -> tuple[Book, Mapping[str, Crash]]:
    """The book of a new start, and what the last end means for each model.

    Args:
        trying: manifest digest by model, of updates that count the agent's crashes themselves.
    """
    started = replace(book, machine=machine, clean=False, blamed=None)
    if book.clean:
        # The count starts again, but a model that is given up stays given up.
        calm = {name: count if gives_up(count.crashes) else replace(count, crashes=0) for name, count in book.models.items()}
        return replace(started, models=calm, ends=0), {}
    if book.machine != machine:
        return started, {}
    started = replace(started, ends=book.ends + 1)
    if (blamed := book.blamed) is not None:
        if trying.get(blamed.model) == blamed.manifest_digest:
            return started, {}
        before = book.models.get(blamed.model)
        again = before is not None and before.manifest_digest == blamed.manifest_digest
        count = CrashCount(blamed.manifest_digest, crashes=(before.crashes if before is not None and again else 0) + 1)
        models = {**book.models, blamed.model: count}
        return replace(started, models=models), {
            blamed.model: Crash(blamed.manifest_digest, blamed.doing, count.crashes, started.ends)
        }
    models, crashes = {}, {}
    for name, count in book.models.items():
        given_up = gives_up(count.crashes)  # it was not loaded at all
        counts = not count.proved and name not in trying and not given_up
        models[name] = replace(count, crashes=count.crashes + 1) if counts else count
        if not given_up:
            counted = models[name].crashes if counts else 0
            crashes[name] = Crash(count.manifest_digest, "was served", counted, started.ends)
    return replace(started, models=models), crashes


def loading(book: Book, model: str, manifest_digest: str) -> Book:
    return replace(book, blamed=Blamed(model, manifest_digest, "was loaded"))


def loaded(book: Book, model: str, manifest_digest: str) -> Book:
    before = book.models.get(model)
    again = before is not None and before.manifest_digest == manifest_digest and not gives_up(before.crashes)
    count = replace(before, proved=False) if before is not None and again else CrashCount(manifest_digest)
    return replace(book, blamed=None, models={**book.models, model: count})


def proved(book: Book, models: Mapping[str, str]) -> Book:
    """Args:
    models: manifest digest of what has served well, by model name.
    """
    now = {
        name: replace(count, proved=True, crashes=0)
        for name, count in book.models.items()
        if models.get(name) == count.manifest_digest
    }
    return replace(book, models={**book.models, **now})


def given_up(book: Book, model: str, manifest_digest: str) -> bool:
    count = book.models.get(model)
    return count is not None and count.manifest_digest == manifest_digest and gives_up(count.crashes)


class CrashBook:
    """The book on the disk: each change is there before the call returns, and one that changes nothing writes nothing.

    A disk that cannot be written costs the protection, not the service: it is logged. May be used from several threads.
    """

    def __init__(self, path: Path, log: Callable[..., None], damaged: Damaged = ignore_damage) -> None:
        self._path = path
        self._log = log
        self._turns = threading.Lock()
        try:
            self._book = read_record(Book, path) or Book()
        except (FleetError, OSError) as error:
            damaged(path, error)
            self._book = Book()

    def reopen(self, trying: Mapping[str, str]) -> Mapping[str, Crash]:
        """Once, before anything is loaded; see `reopened`. It is written with the first load."""
        self._book, crashes = reopened(self._book, _machine(self._path.parent), trying)
        return crashes

    def loading(self, model: str, manifest_digest: str) -> None:
        self._turn(lambda book: loading(book, model, manifest_digest))

    def loaded(self, model: str, manifest_digest: str) -> None:
        self._turn(lambda book: loaded(book, model, manifest_digest))

    def not_loaded(self) -> None:
        self._turn(lambda book: replace(book, blamed=None))

    def hung(self, model: str, manifest_digest: str) -> None:
        """Call it before the process ends for it."""
        detail = "its runtime does not end an inference that hangs: the agent ends, to be started again"
        self._log("runtime-stuck", model=model, manifest=manifest_digest, detail=detail)
        self._turn(lambda book: replace(book, blamed=Blamed(model, manifest_digest, "hung")))

    def proved(self, models: Mapping[str, str]) -> None:
        self._turn(lambda book: proved(book, models))

    def ended(self) -> None:
        """In good order."""
        if self._book.models or self._book.blamed:
            self._turn(lambda book: replace(book, clean=True, blamed=None))

    def given_up(self, model: str, manifest_digest: str) -> bool:
        return given_up(self._book, model, manifest_digest)

    def last_loaded(self, model: str) -> str:
        """Digest of the manifest that the agent itself loaded last; empty: none, or it was given up."""
        count = self._book.models.get(model)
        return count.manifest_digest if count is not None and not gives_up(count.crashes) else ""

    def crashes(self, model: str) -> int:
        count = self._book.models.get(model)
        return count.crashes if count is not None else 0

    def _turn(self, change: Callable[[Book], Book]) -> None:
        with self._turns:
            before, self._book = self._book, change(self._book)
            if self._book == before:
                return
            try:
                write_record(self._path, self._book)
            except OSError as error:
                self._log("crashes-not-written", detail=str(error))


def _machine(folder: Path) -> str:
    """Another one after every start of the machine, and for a copy of the folder; "" where this is unknown."""
    try:
        return f"{_BOOT.read_text().strip()} {folder.stat().st_ino}"
    except OSError:
        return ""
