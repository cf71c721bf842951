"""The folders of an installation, and the record of its arguments."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from littoral.errors import FleetError, NotFound, Unavailable, unwritten
from littoral_node.identity.files import locked, read_record, write_json, write_record

PREFIX = Path("/opt/littoral")
UNIT, COMMAND = Path("/etc/systemd/system/littoral-node.service"), Path("/usr/local/bin/littoral-node")
USER = "littoral"


@dataclass(frozen=True, slots=True)
class Install:
    """The arguments of an install. `unit` and `user` are empty where there is none."""

    prefix: str
    data: str
    extras: tuple[str, ...]
    user: str = ""
    unit: str = ""
    command: str = ""  # a link on the PATH of all users
    python: str = ""  # the interpreter for new environments
    memory_max: str = ""
    devices: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    prefix: Path

    @property
    def current(self) -> Path:
        return self.prefix / "current"

    @property
    def record(self) -> Path:
        return self.prefix / "install.json"

    def release(self, name: str) -> Path:
        return self.prefix / name

    def running(self) -> str:
        """The name of the release that `current` points to; "" where there is none."""
        try:
            return Path(os.readlink(self.current)).name
        except OSError:
            return ""

    def releases(self) -> list[str]:
        """The names of the complete releases."""
        marks = self.prefix.glob("*/release.json")
        return sorted(mark.parent.name for mark in marks if not mark.parent.is_symlink())  # `current` is one of them

    def free_name(self, version: str) -> str:
        """`version`, with a number behind it where that release is complete: never writes to a release in use."""
        taken = set(self.releases())
        return next(name for n in range(1, 10_000) if (name := version if n == 1 else f"{version}-{n}") not in taken)

    def mark_complete(self, name: str, version: str) -> None:
        write_json(self.release(name) / "release.json", {"version": version})

    def switch(self, name: str) -> None:
        """Points `current` to a release, by one rename."""
        relink(self.current, Path(name))

    def remove(self, name: str) -> None:
        """Removes a release, its mark first: a half removed release never counts as complete."""
        (self.release(name) / "release.json").unlink(missing_ok=True)
        shutil.rmtree(self.release(name), ignore_errors=True)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Locks the prefix. Raises Unavailable where another command has it, BadInput where it cannot be written."""
        busy = Unavailable(f"--prefix {self.prefix}: another install or upgrade is at work", hint="wait for it")
        try:
            self.prefix.mkdir(parents=True, exist_ok=True)
            handle = locked(self.prefix / ".lock", busy)
        except OSError as error:
            raise unwritten(f"--prefix {self.prefix}", error, hint="run it as root, or name a --prefix of your own") from error
        try:
            yield
        finally:
            os.close(handle)

    def record_install(self, install: Install) -> None:
        write_record(self.record, install)

    def installed(self) -> Install:
        """The recorded arguments. Raises NotFound where nothing is installed here, FleetError for a damaged record."""
        try:
            install = read_record(Install, self.record)
        except FleetError as error:
            raise FleetError(error.message, hint="install again with the same --prefix, or use its littoral-node") from error
        if install is None:
            raise NotFound(
                f"--prefix {self.prefix}: nothing is installed here", hint="littoral-node install, or name its --prefix"
            )
        return install


def relink(link: Path, target: Path) -> None:
    """Points a link to another target, by one rename."""
    beside = link.with_name(f".{link.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)
