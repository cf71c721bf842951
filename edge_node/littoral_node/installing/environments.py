"""Makes virtual environments and fills them by pip. Never changes the system's packages (PEP 668)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from littoral.errors import BadInput, FleetError, NotFound

OLDEST, NEWEST = (3, 11), (3, 12)
_TAIL = 2000


class InstallFailed(FleetError):
    """A program that the installer ran failed; the message has the end of its output."""

    code = "install-failed"


@dataclass(frozen=True, slots=True)
class Source:
    """The source of littoral's wheel.

    `place`: a wheel, a folder of wheels, a source tree; None: the package index. `version`: in the index; "": the newest.
    `options`: for pip, for example ("--index-url", "...").
    """

    place: Path | None = None
    version: str = ""
    options: tuple[str, ...] = ()


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child without the variables that lead it to this process's packages."""
    return {name: value for name, value in environment.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}


def ran(
    command: Sequence[str | Path], *, user: str = "", environment: Mapping[str, str] | None = None, well: Collection[int] = (0,)
) -> str:
    """Runs a program and returns its standard output. Raises InstallFailed, with the end of its output.

    Args:
        user: runs the program; "": this process's user.
        environment: in addition to this process's.
        well: the exit codes of success.
    """
    called = [str(word) for word in command]
    as_other = {"user": user, "group": user, "extra_groups": []} if user else {}
    try:
        done = subprocess.run(
            called,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            cwd="/",
            env={**clean(os.environ), **(environment or {})},
            **as_other,  # type: ignore[call-overload]  # user, group and extra_groups, or none of them
        )
    except (OSError, LookupError) as error:
        raise InstallFailed(
            f"{called[0]}: cannot be started: {error}", hint="is it there, and may this user start it?"
        ) from error
    if done.returncode not in well:
        output = (done.stderr.strip() or done.stdout.strip())[-_TAIL:]
        raise InstallFailed(f"{' '.join(called[:6])}: ended with {done.returncode}: {output}", hint="run it by hand to see more")
    return str(done.stdout)


def base_python(chosen: Path | None) -> Path:
    """The interpreter for new environments: `chosen`, else this process's own outside of any environment.

    Raises BadInput for a version that littoral does not support.
    """
    python = chosen or Path(getattr(sys, "_base_executable", "") or sys.executable)
    printed = ran([python, "-c", "import sys; print(*sys.version_info[:2])"]).split()
    version = (int(printed[0]), int(printed[1]))
    if not OLDEST <= version <= NEWEST:
        raise BadInput(
            f"--python {python}: is {version[0]}.{version[1]}, littoral runs on 3.11 and 3.12", hint="name another one"
        )
    return python


def pip_of(python: Path, room: Path) -> tuple[str, ...]:
    """The command of a pip that can fill other environments (`pip --python`, 22.3 or newer).

    This process's pip, else `python`'s, else one in a new environment in `room`.

    Raises NotFound where there is none.
    """
    for candidate in (sys.executable, str(python)):
        command = (candidate, "-m", "pip", "--disable-pip-version-check")
        try:
            printed = ran([*command, "--version"])
        except InstallFailed:
            continue
        if tuple(int(part) for part in printed.split()[1].split(".")[:2]) >= (22, 3):
            return command
    try:
        ran([python, "-m", "venv", room / "pip"])
    except InstallFailed as error:
        raise NotFound(
            f"{python}: has neither pip nor ensurepip",
            hint="Debian and Ubuntu: apt install python3-venv; or name another --python",
        ) from error
    return str(room / "pip" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"


def wheel_of(source: Source, pip: Sequence[str], room: Path) -> Path:
    """The wheel of littoral: the source itself where it is a wheel, else built or downloaded into `room`.

    Raises BadInput where the place holds no wheel, InstallFailed where pip cannot get one.
    """
    place = source.place
    if place is not None:
        place = place.expanduser().absolute()
        if place.is_file() and place.suffix == ".whl":
            return place
        if not place.is_dir():
            raise BadInput(
                f"--from {place}: is neither a wheel nor a folder", hint="a wheel, a folder of wheels, or a source tree"
            )
        if not (place / "pyproject.toml").is_file():
            return _only_wheel(place)
    requirement = str(place) if place is not None else f"littoral=={source.version}" if source.version else "littoral"
    try:
        ran([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", room, *source.options, requirement])
    except InstallFailed as error:
        raise InstallFailed(error.message, hint="name a wheel or a source tree with --from") from error
    return _only_wheel(room)


def _only_wheel(folder: Path) -> Path:
    found = sorted(folder.glob("littoral-*.whl"))
    if len(found) != 1:
        raise BadInput(f"--from {folder}: holds {len(found)} wheels of littoral, not one", hint="name the wheel itself")
    return found[0]


def version_of(wheel: Path) -> str:
    """The version in a wheel's name. Raises BadInput where it is no wheel of littoral."""
    parts = wheel.name.split("-")
    if parts[0] != "littoral" or len(parts) < 5:
        raise BadInput(f"--from {wheel}: is not a wheel of littoral", hint="its name begins with littoral-VERSION-")
    return parts[1]


def make(python: Path, where: Path) -> None:
    """Makes an empty environment, without pip: the agent does not need it."""
    shutil.rmtree(where, ignore_errors=True)
    where.parent.mkdir(parents=True, exist_ok=True)
    ran([python, "-m", "venv", "--without-pip", where])


def fill(where: Path, wheel: Path, extras: Sequence[str], pip: Sequence[str], source: Source) -> None:
    """Installs littoral with its extras into an environment."""
    beside = ("--find-links", str(source.place)) if source.place is not None and source.place.is_dir() else ()
    requirement = f"littoral[{','.join(extras)}] @ {wheel.as_uri()}" if extras else f"littoral @ {wheel.as_uri()}"
    into = (*pip, "--python", str(where / "bin" / "python"), "install", "--quiet", "--no-cache-dir")
    ran([*into, *beside, *source.options, requirement])
