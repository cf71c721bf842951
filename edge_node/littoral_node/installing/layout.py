"""The folders of an installation, and the record of its arguments."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from littoral.errors import FleetError, NotFound, Unavailable, unwritten
from littoral_node.identity.folder import locked, read_json, write_json

PREFIX = Path("/opt/littoral")
UNIT, COMMAND = Path("/etc/systemd/system/littoral-node.service"), Path("/usr/local/bin/littoral-node")
USER = "littoral"
_SCHEMA = 1


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
    schema: int = field(default=_SCHEMA)


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
        write_json(self.record, asdict(install))

    def installed(self) -> Install:
        """The recorded arguments. Raises NotFound where nothing is installed here, FleetError for a damaged record."""
        body = read_json(self.record)
        if body is None:
            raise NotFound(
                f"--prefix {self.prefix}: nothing is installed here", hint="littoral-node install, or name its --prefix"
            )
        if body.get("schema") != _SCHEMA:
            raise FleetError(
                f"{self.record}: schema {body.get('schema')!r}, this command reads {_SCHEMA}",
                hint="use the littoral-node of that install",
            )
        try:
            return Install(**{**body, "extras": tuple(body["extras"])})
        except (TypeError, KeyError) as error:
            raise FleetError(f"{self.record}: is damaged: {error}", hint="install again with the same --prefix") from error


def relink(link: Path, target: Path) -> None:
    """Points a link to another target, by one rename."""
    beside = link.with_name(f".{link.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)
