"""The machine's users and its service manager, for the installer."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterable
from pathlib import Path

from littoral_node.installing.environments import ran

BOOTED = Path("/run/systemd/system")
_IN_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))


class Systemd:
    """The agent as a service of this machine.

    Args:
        unit: the file, for example /etc/systemd/system/littoral-node.service.
    """

    def __init__(self, unit: Path) -> None:
        self._unit = unit

    def start(self) -> None:
        """Starts it now and at every boot. Returns when it is ready. Raises InstallFailed."""
        ran(["systemctl", "daemon-reload"])
        ran(["systemctl", "enable", self._unit.name])
        ran(["systemctl", "restart", self._unit.name])

    def restart(self, within_s: float) -> None:
        """Returns when it is ready. Raises InstallFailed where that takes longer than `within_s`."""
        ran(["systemctl", "daemon-reload"])
        ran(["timeout", f"{within_s:g}", "systemctl", "restart", self._unit.name])
        ran(["systemctl", "is-active", "--quiet", self._unit.name])

    def remove(self) -> None:
        """Stops it, and disables its start at boot."""
        ran(["systemctl", "disable", "--now", self._unit.name])


def why_no_systemd() -> str:
    """The reason why systemd does not manage this machine, and what to do instead; "" where it does."""
    if BOOTED.is_dir() and shutil.which("systemctl"):
        return ""
    if any(mark.exists() for mark in _IN_CONTAINER):
        return "this is a container: the engine restarts the agent (docs/compose.md)"
    return "this machine does not run systemd: let its own supervisor run the command below, and restart it when it ends"


def is_root() -> bool:
    return os.geteuid() == 0


def has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def add_user(name: str, home: Path) -> None:
    """Adds a system user with its own group and without a login."""
    ran(["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home, "--shell", "/usr/sbin/nologin", name])


def give(folder: Path, user: str) -> None:
    """Makes a user the owner of a folder and all in it; does not follow links."""
    owner = pwd.getpwnam(user)
    for path in _tree(folder):
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def _tree(folder: Path) -> Iterable[Path]:
    yield folder
    for root, folders, files in os.walk(folder):
        yield from (Path(root, name) for name in (*folders, *files))
