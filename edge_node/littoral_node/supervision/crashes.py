"""Who is to blame when the agent has ended without a word, and when a model is given up for it.

DIR/crashes.json is written before a model is loaded, when it was loaded, when it has proved itself, and at an orderly end: a few
writes a start, none a request. What it says at the next start:

    "blamed" names a model    it was being loaded, or hung beyond help: it alone is counted
    else                      every model that had not proved itself is counted; one whose update is on trial counts there
    in every case             what was served is reported
    the machine restarted     nothing is counted: a cut of the power says nothing about a model, nor does the end of
                              the agent whose folder this one was copied from

A model that was counted LIMIT times in a row is given up. One that proved itself begins again at nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from littoral.errors import FleetError
from littoral_node.identity.files import Damaged, read_record, unsaid, write_record

LIMIT = 3
PROVED_S = 60.0
"""A model that was loaded so long ago, and has answered since, has proved itself."""
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
    ends: int = 0  # without a word, since the last one in good order
    blamed: Blamed | None = None
    models: Mapping[str, CrashCount] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Crash:
    """What the last end of the agent says of one model.

    Args:
        crashes: in a row, of this model that had not proved itself; 0: this one is not counted against it.
        ends: of the agent without a word, this one too, since the last one in good order.
    """

    manifest_digest: str
    doing: str
    crashes: int
    ends: int

    def __str__(self) -> str:
        counted = f"counted against it: {self.crashes} of {LIMIT}" if self.crashes else "not counted against it"
        return f"the agent ended without a word (number {self.ends}) while {self.manifest_digest[:19]} {self.doing}; {counted}"


def reopened(book: Book, machine: str, trying: Mapping[str, str]) -> tuple[Book, Mapping[str, Crash]]:
    """The book of a new start, and what the last end says of each model.

    Args:
        trying: manifest digest by model, of updates that count the agent's crashes themselves.
    """
    started = replace(book, machine=machine, clean=False, blamed=None)
    if book.clean:
        calm = {name: replace(standing, crashes=_kept(standing)) for name, standing in book.models.items()}
        return replace(started, models=calm, ends=0), {}
    if book.machine != machine:
        return started, {}
    started = replace(started, ends=book.ends + 1)
    if (blamed := book.blamed) is not None:
        if trying.get(blamed.model) == blamed.manifest_digest:
            return started, {}
        before = book.models.get(blamed.model)
        count = before.crashes if before is not None and before.manifest_digest == blamed.manifest_digest else 0
        standing = CrashCount(blamed.manifest_digest, crashes=count + 1)
        models = {**book.models, blamed.model: standing}
        return replace(started, models=models), {
            blamed.model: Crash(blamed.manifest_digest, blamed.doing, standing.crashes, started.ends)
        }
    models, crashes = {}, {}
    for name, standing in book.models.items():
        given_up = standing.crashes >= LIMIT  # it was not loaded at all
        counts = not standing.proved and name not in trying and not given_up
        models[name] = replace(standing, crashes=standing.crashes + 1) if counts else standing
        if not given_up:
            counted = models[name].crashes if counts else 0
            crashes[name] = Crash(standing.manifest_digest, "was served", counted, started.ends)
    return replace(started, models=models), crashes


def _kept(standing: CrashCount) -> int:
    """An orderly end interrupts a row of crashes; what was given up stays so."""
    return standing.crashes if standing.crashes >= LIMIT else 0


def loading(book: Book, model: str, manifest_digest: str) -> Book:
    return replace(book, blamed=Blamed(model, manifest_digest, "was loaded"))


def hung(book: Book, model: str, manifest_digest: str) -> Book:
    return replace(book, blamed=Blamed(model, manifest_digest, "hung"))


def loaded(book: Book, model: str, manifest_digest: str) -> Book:
    before = book.models.get(model)
    again = before is not None and before.manifest_digest == manifest_digest and before.crashes < LIMIT
    standing = replace(before, proved=False) if before is not None and again else CrashCount(manifest_digest)
    return replace(book, blamed=None, models={**book.models, model: standing})


def not_loaded(book: Book) -> Book:
    return replace(book, blamed=None)


def proved(book: Book, models: Mapping[str, str]) -> Book:
    """Args:
    models: manifest digest of what has served well, by model name.
    """
    now = {
        name: replace(standing, proved=True, crashes=0)
        for name, standing in book.models.items()
        if models.get(name) == standing.manifest_digest
    }
    return replace(book, models={**book.models, **now})


def given_up(book: Book, model: str, manifest_digest: str) -> bool:
    standing = book.models.get(model)
    return standing is not None and standing.manifest_digest == manifest_digest and standing.crashes >= LIMIT


class CrashBook:
    """The book on the disk: each change is there before the call returns, and one that changes nothing writes nothing.

    A disk that cannot be written costs the protection, not the service: it is logged. May be used from several threads.
    """

    def __init__(self, path: Path, log: Callable[..., None], damaged: Damaged = unsaid) -> None:
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
        self._turn(not_loaded)

    def hung(self, model: str, manifest_digest: str) -> None:
        """Before the process ends for it."""
        detail = "its runtime does not end an inference that hangs: the agent ends, to be started again"
        self._log("runtime-stuck", model=model, manifest=manifest_digest, detail=detail)
        self._turn(lambda book: hung(book, model, manifest_digest))

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
        standing = self._book.models.get(model)
        return standing.manifest_digest if standing is not None and standing.crashes < LIMIT else ""

    def crashes(self, model: str) -> int:
        standing = self._book.models.get(model)
        return standing.crashes if standing is not None else 0

    def _turn(self, change: Callable[[Book], Book]) -> None:
        with self._turns:
            before, self._book = self._book, change(self._book)
            if self._book != before:
                self._write()

    def _write(self) -> None:
        try:
            write_record(self._path, self._book)
        except OSError as error:
            self._log("crashes-not-written", detail=str(error))


def _machine(folder: Path) -> str:
    """Another one after every start of the machine, and for a copy of the folder; "" where that cannot be told."""
    try:
        return f"{_BOOT.read_text().strip()} {folder.stat().st_ino}"
    except OSError:
        return ""
