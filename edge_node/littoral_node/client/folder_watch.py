"""`littoral-node watch`: predicts every image that arrives in a folder once, as soon as it is whole.

1. The folder is listed at every change (with watchfiles, where that is installed and works), and every second besides.
2. An image is whole when its size and time have not changed for `settle_s`. Then it is read, one image at a time.
3. An image that cannot be read is tried again until `give_up_s`; then it is broken, and moves to FOLDER/broken.
4. Where the node is away, busy or has no model yet, all images wait, in order.
5. The line of results is written and synced before the image moves (results.py), so a killed watcher repeats nothing.

    photo.jpg arrives -> 0.5 s without a change -> the line {"file": "photo.jpg", "label": "cat", ...} -> DIR/cat/photo.jpg
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

from littoral.backoff import Backoff
from littoral.errors import BadData, FleetError, NotFound, Unavailable, unwritten
from littoral_node.client.files import examples, is_image
from littoral_node.client.model_info import ModelInfo
from littoral_node.client.node import Client
from littoral_node.client.predictions import predictions_of
from littoral_node.client.results import FileVersion, ResultLog

ASIDE = "broken"
"""The folder, inside the watched one, for images that are broken or that the model does not accept."""
_LOOK_S = 1.0
_BACKOFF = Backoff(0.5, 30.0)
_SHARE = 10
"""Listing a folder of very many images takes at most a tenth of the time."""
_BAD_IN_NAMES = re.compile(r"[^\w .,+()-]")


class FolderWatch:
    """Args:
    results: the file for a line of JSON for each image, see results.py.
    sorted_to: images move to sorted_to/CLASS; None: they stay.
    max_results: bytes, see ResultLog.
    settle_s, give_up_s: seconds without a change, after which an image is whole, or broken.
    top: how many classes a line names.
    report: receives each line, and each event.
    """

    def __init__(
        self,
        folder: Path,
        client: Client,
        *,
        results: Path,
        sorted_to: Path | None,
        max_results: int,
        settle_s: float,
        give_up_s: float,
        top: int,
        report: Callable[[Mapping[str, Any]], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._client = folder, client
        self._sorted_to, self._settle_s, self._give_up_s = sorted_to, settle_s, give_up_s
        self._top, self._report, self._monotonic = top, report, monotonic
        self._results = ResultLog(results, max_results)
        self._arriving: dict[FileVersion, float] = {}  # when each changed last; monotonic, s
        self._info: ModelInfo | None = None

    def run(self, stop: threading.Event, *, once: bool = False) -> None:
        """Runs until `stop` is set, and finishes the current image.

        Args:
            once: end when every image in the folder has its line.

        Raises BadInput, NoSpace where results cannot be written or images cannot be moved.
        """
        self._results.recover(set(self._there()))
        self._report({"event": "watching", "detail": str(self._folder)})
        with self._woken(stop) as wake:
            failures = 0
            while not stop.is_set():
                wake.clear()
                began = self._monotonic()
                try:
                    waiting = self._look(stop)
                    failures = 0
                except (Unavailable, NotFound) as error:  # no node, no model yet, or the node is busy: the image may be fine
                    if failures == 0:
                        self._report({"event": "waiting", "detail": error.message})
                    self._info = None
                    stop.wait(_BACKOFF.bound_s(failures))  # no jitter: one watcher, and one node on this machine
                    failures += 1
                    continue
                if once and not waiting:
                    break
                spent = self._monotonic() - began
                soon = min(_LOOK_S, max(self._settle_s / 2, 0.02)) if waiting else _LOOK_S
                wake.wait(max(soon, min(_SHARE * spent, _BACKOFF.most_s)))
        self._report({"event": "stopped"})

    def _look(self, stop: threading.Event) -> bool:
        """Lists the folder and predicts each image that is whole. Returns whether an image is still arriving."""
        there = sorted(self._there(), key=lambda seen: (seen.changed_ns, seen.name))
        still = set(there)
        self._results.forget(still)
        self._arriving = {seen: since for seen, since in self._arriving.items() if seen in still}
        waiting = False
        for seen in there:
            if stop.is_set():
                break
            if (line := self._results.done(seen)) is not None:
                self._put_away(seen, line)  # a watcher was killed between the line and the move
                continue
            now = self._monotonic()
            stood = now - self._arriving.setdefault(seen, now)
            if stood < self._settle_s or not self._tried(seen, broken=stood >= self._give_up_s):
                waiting = True
        return waiting

    def _tried(self, seen: FileVersion, *, broken: bool) -> bool:
        """Whether the image is done. Raises Unavailable or NotFound where the node is away or has no model."""
        path = self._folder / seen.name
        info = self._info = self._info or self._client.model_info()
        try:
            values = examples(path, info)
            predictions = predictions_of(info, self._client.ask(info, values), len(values), self._top)
        except NotFound:
            if not path.exists():
                return True  # somebody removed it
            raise
        except BadData as error:
            if not broken:
                return False
            return self._done(seen, {"error": {"code": error.code, "message": error.message}})
        except Unavailable:
            raise
        except FleetError as error:
            return self._done(seen, {"error": {"code": error.code, "message": error.message}})
        body = predictions[0].as_dict() if len(predictions) == 1 else {"predictions": [each.as_dict() for each in predictions]}
        return self._done(seen, {"model": info.model, "version": info.version, **body})

    def _done(self, seen: FileVersion, line: Mapping[str, Any]) -> bool:
        if self._there_named(seen.name) != seen:
            return False  # it changed while it was read: the prediction is for another content
        line = {"file": seen.name, **line}
        self._results.write(seen, line)
        self._arriving.pop(seen, None)
        self._put_away(seen, line)
        self._report(line)
        return True

    def _put_away(self, seen: FileVersion, line: Mapping[str, Any]) -> None:
        if "error" in line:
            self._move(seen, self._folder / ASIDE)
        elif self._sorted_to is not None and isinstance(line.get("label"), str):
            self._move(seen, self._sorted_to / _folder_name(line["label"]))

    def _move(self, seen: FileVersion, into: Path) -> None:
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
                    return  # somebody else moved it
                if error.errno != errno.EXDEV:  # another file system
                    raise
                beside = place.with_name(f".{place.name}.new")
                shutil.copy2(source, beside)
                beside.rename(place)
                source.unlink()
        except OSError as error:
            raise unwritten(str(into), error, hint="name a folder that this user may write") from error

    def _there(self) -> Iterator[FileVersion]:
        """The images in the folder: plain files whose names do not start with a dot."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and is_image(Path(entry.name)):
                    with contextlib.suppress(FileNotFoundError):
                        if entry.is_file(follow_symlinks=False):
                            stat = entry.stat(follow_symlinks=False)
                            yield FileVersion(entry.name, stat.st_size, stat.st_mtime_ns)

    def _there_named(self, name: str) -> FileVersion | None:
        try:
            stat = os.lstat(self._folder / name)
        except FileNotFoundError:
            return None
        return FileVersion(name, stat.st_size, stat.st_mtime_ns)

    @contextlib.contextmanager
    def _woken(self, stop: threading.Event) -> Iterator[threading.Event]:
        """An event that is set when the folder may have changed; never set without watchfiles."""
        wake, ended = threading.Event(), threading.Event()
        if importlib.util.find_spec("watchfiles") is None:
            yield wake
            return

        def listen() -> None:
            from watchfiles import watch

            try:
                for _ in watch(self._folder, stop_event=ended, recursive=False, debounce=50, step=20, rust_timeout=500):
                    wake.set()
            except (OSError, RuntimeError) as error:  # a file system without notifications, or a name that is no UTF-8
                self._report({"event": "looks-each-second", "detail": f"{self._folder}: no more notifications: {error}"})

        listener = threading.Thread(target=listen, name="folder", daemon=True)
        listener.start()
        try:
            yield wake
        finally:
            ended.set()
            listener.join(5.0)


def _folder_name(label: str) -> str:
    """A class's name as a folder's name: never a path, never hidden."""
    return _BAD_IN_NAMES.sub("_", label).strip(" .")[:100] or "unnamed"
