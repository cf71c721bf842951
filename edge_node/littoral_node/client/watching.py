"""`littoral-node watch`: every image that arrives in a folder is asked about once, and only once it is whole.

The folder is the truth: it is looked at when something in it changed (watchfiles, where it is there and works), and every second
besides. An image whose size and time stand still for a moment is read; one that still cannot be read after a longer while is
broken, and is set aside. One image is in memory at a time. Whatever the node answers "later" to waits, in order.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from littoral.errors import BadData, FleetError, NotFound, Unavailable, unwritten
from littoral_node.client.about import About
from littoral_node.client.answers import answers_of
from littoral_node.client.files import examples, is_image
from littoral_node.client.journal import Journal, Seen
from littoral_node.client.node import Oracle

ASIDE = "broken"
"""Folder in the watched one for what cannot be read, and what the model does not take."""
_LOOK_S = 1.0
_PAUSE_FIRST_S, _PAUSE_MOST_S = 0.5, 30.0
_SHARE = 10
"""Looking at a folder of very many images takes a tenth of the time at most."""
_BAD_IN_NAMES = re.compile(r"[^\w .,+()-]")


class Watch:
    """Args:
    results: a line of JSON for each image, see journal.py.
    sorted_to: images are moved to sorted_to/CLASS; None: they stay.
    settle_s, give_up_s: an image that has not changed so long is whole, or broken.
    say: told each line, and what it waits for.
    """

    def __init__(
        self,
        folder: Path,
        oracle: Oracle,
        *,
        results: Path,
        sorted_to: Path | None,
        max_results: int,
        settle_s: float,
        give_up_s: float,
        top: int,
        say: Callable[[Mapping[str, Any]], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._oracle = folder, oracle
        self._sorted_to, self._settle_s, self._give_up_s = sorted_to, settle_s, give_up_s
        self._top, self._say, self._monotonic = top, say, monotonic
        self._journal = Journal(results, max_results)
        self._arriving: dict[Seen, float] = {}  # since when each has not changed; monotonic, s
        self._about: About | None = None

    def run(self, stop: threading.Event, *, once: bool = False) -> None:
        """Until `stop` is set; the image that is being asked about is finished first.

        Args:
            once: ends when everything that is there has its line.

        Raises BadInput, NoSpace where results cannot be written or images cannot be moved.
        """
        self._journal.recover(set(self._there()))
        self._say({"event": "watching", "detail": str(self._folder)})
        with self._woken(stop) as wake:
            pause = 0.0
            while not stop.is_set():
                wake.clear()
                began = self._monotonic()
                try:
                    waiting = self._round(stop)
                    pause = 0.0
                except (Unavailable, NotFound) as error:  # no node, no model yet, or it is busy: nothing is wrong with the image
                    if pause == 0.0:
                        self._say({"event": "waiting", "detail": error.message})
                    pause = min(_PAUSE_MOST_S, pause * 2 or _PAUSE_FIRST_S)
                    self._about = None
                    stop.wait(pause)
                    continue
                if once and not waiting:
                    break
                spent = self._monotonic() - began
                soon = min(_LOOK_S, max(self._settle_s / 2, 0.02)) if waiting else _LOOK_S
                wake.wait(max(soon, min(_SHARE * spent, _PAUSE_MOST_S)))
        self._say({"event": "stopped"})

    def _round(self, stop: threading.Event) -> bool:
        """Looks once, and asks about all that is whole. Whether something is still arriving."""
        there = sorted(self._there(), key=lambda seen: (seen.changed_ns, seen.name))
        still = set(there)
        self._journal.forget(still)
        self._arriving = {seen: since for seen, since in self._arriving.items() if seen in still}
        waiting = False
        for seen in there:
            if stop.is_set():
                break
            if (line := self._journal.done(seen)) is not None:
                self._put_away(seen, line)  # it was killed between the line and the move
                continue
            now = self._monotonic()
            stood = now - self._arriving.setdefault(seen, now)
            if stood < self._settle_s or not self._tried(seen, broken=stood >= self._give_up_s):
                waiting = True
        return waiting

    def _tried(self, seen: Seen, *, broken: bool) -> bool:
        """Whether it is done with. Raises Unavailable, NotFound: the node has to be waited for."""
        path = self._folder / seen.name
        about = self._about = self._about or self._oracle.about()
        try:
            values = examples(path, about)
            answers = answers_of(about, self._oracle.ask(about, values), len(values), self._top)
        except NotFound:
            if not path.exists():
                return True  # it went again
            raise
        except BadData as error:
            if not broken:
                return False
            return self._done(seen, {"error": {"code": error.code, "message": error.message}})
        except Unavailable:
            raise
        except FleetError as error:
            return self._done(seen, {"error": {"code": error.code, "message": error.message}})
        body = answers[0].as_dict() if len(answers) == 1 else {"answers": [answer.as_dict() for answer in answers]}
        return self._done(seen, {"model": about.model, "version": about.version, **body})

    def _done(self, seen: Seen, line: Mapping[str, Any]) -> bool:
        if self._there_named(seen.name) != seen:
            return False  # it changed while it was read: what was answered is of something else
        line = {"file": seen.name, **line}
        self._journal.write(seen, line)
        self._arriving.pop(seen, None)
        self._put_away(seen, line)
        self._say(line)
        return True

    def _put_away(self, seen: Seen, line: Mapping[str, Any]) -> None:
        if "error" in line:
            self._move(seen, self._folder / ASIDE)
        elif self._sorted_to is not None and isinstance(line.get("label"), str):
            self._move(seen, self._sorted_to / _folder_name(line["label"]))

    def _move(self, seen: Seen, into: Path) -> None:
        source = self._folder / seen.name
        try:
            into.mkdir(parents=True, exist_ok=True)
            stem, suffix = os.path.splitext(seen.name)
            place = into / seen.name
            for n in range(1, 1_000_000):
                if not place.exists():
                    break
                place = into / f"{stem}-{n}{suffix}"
            try:
                source.rename(place)
            except OSError as error:
                if not source.exists():
                    return  # somebody else took it
                if error.errno != errno.EXDEV:  # another file system
                    raise
                beside = place.with_name(f".{place.name}.new")
                shutil.copy2(source, beside)
                beside.rename(place)
                source.unlink()
        except OSError as error:
            raise unwritten(str(into), error, hint="name a folder that this user may write") from error

    def _there(self) -> Iterator[Seen]:
        """Images in the folder: plain files, none with a dot in front."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and is_image(Path(entry.name)):
                    with contextlib.suppress(FileNotFoundError):
                        if entry.is_file(follow_symlinks=False):
                            stat = entry.stat(follow_symlinks=False)
                            yield Seen(entry.name, stat.st_size, stat.st_mtime_ns)

    def _there_named(self, name: str) -> Seen | None:
        try:
            stat = os.lstat(self._folder / name)
        except FileNotFoundError:
            return None
        return Seen(name, stat.st_size, stat.st_mtime_ns)

    @contextlib.contextmanager
    def _woken(self, stop: threading.Event) -> Iterator[threading.Event]:
        """An event that is set when the folder may have changed; without watchfiles by time alone."""
        wake, ended = threading.Event(), threading.Event()
        if importlib.util.find_spec("watchfiles") is None:
            yield wake
            return

        def listen() -> None:
            from watchfiles import watch

            try:
                for _ in watch(self._folder, stop_event=ended, recursive=False, debounce=50, step=20, rust_timeout=500):
                    wake.set()
            except (OSError, RuntimeError) as error:  # a file system that does not tell, or a name that is no UTF-8
                self._say({"event": "looks-each-second", "detail": f"{self._folder}: is not told of changes any more: {error}"})

        listener = threading.Thread(target=listen, name="folder", daemon=True)
        listener.start()
        try:
            yield wake
        finally:
            ended.set()
            listener.join(5.0)


def _folder_name(label: str) -> str:
    """A class's name as a folder's: never a path, never hidden."""
    return _BAD_IN_NAMES.sub("_", label).strip(" .")[:100] or "unnamed"
