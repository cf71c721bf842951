"""Writes the table of docs/arm64.md: for each package that a node needs, whether the package index has a wheel for arm64 Linux.

python docs/write_arm64.py                    asks the index that pip is set to, and writes it; minutes

Packages are those that pyproject.toml's extras bring, and what those need; versions those of constraints.txt. Asked with
`pip install --dry-run --only-binary :all: --platform manylinux...aarch64`, so the answer is that of a device's own pip.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("arm64.md")
BEGIN = "<!-- written by docs/write_arm64.py -->"
EXTRAS = ("edge", "images", "ncnn", "edge-train")
PYTHONS = ("3.11", "3.12")
_GLIBC = ("2_17", "2014", "2_24", "2_26", "2_27", "2_28", "2_31", "2_34", "2_35")


@dataclass(frozen=True, slots=True)
class Found:
    name: str
    version: str
    extras: tuple[str, ...]
    wheels: tuple[str, ...]  # the file's name by PYTHONS; "" where there is none


def needed(extra: str) -> set[str]:
    """Canonical names of everything that an extra brings on arm64 Linux, the packages of the base included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"][extra]]
    return _closed(Requirement(text) for text in wanted)


def _closed(first: Iterable[Requirement]) -> set[str]:
    machine = {**default_environment(), "platform_machine": "aarch64", "sys_platform": "linux", "platform_system": "Linux"}
    found: set[str] = set()
    waiting = [each for each in first if each.marker is None or each.marker.evaluate({**machine, "extra": ""})]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        asked = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if asked in seen:
            continue
        seen.add(asked)
        found.add(asked[0])
        for text in importlib.metadata.distribution(requirement.name).requires or []:
            inner = Requirement(text)
            if inner.marker is None or any(
                inner.marker.evaluate({**machine, "extra": extra}) for extra in ("", *requirement.extras)
            ):
                waiting.append(inner)
    return found


def pinned() -> Mapping[str, str]:
    lines = (line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return {canonicalize_name(name): version.split(";")[0].strip().partition("+")[0] for name, _, version in lines}


def wheels(versions: Mapping[str, str], python: str) -> Mapping[str, str]:
    """File name of the wheel that pip on such a device would take, by package; those without one are left out."""
    platforms = [word for tag in _GLIBC for word in ("--platform", f"manylinux{'' if tag.isdigit() else '_'}{tag}_aarch64")]
    asked = dict(versions)
    while True:
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "pip",
                    "--disable-pip-version-check",
                    "install",
                    "--dry-run",
                    "--quiet",
                    "--ignore-installed",
                ),
                *("--no-deps", "--only-binary", ":all:", *platforms, "--implementation", "cp", "--python-version", python),
                *("--target", "/nonexistent", "--report", "-", *(f"{name}=={version}" for name, version in asked.items())),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            break
        lacking = re.search(r"No matching distribution found for ([A-Za-z0-9._-]+)==", done.stderr)
        if lacking is None:
            raise SystemExit(f"pip ended with {done.returncode}: {done.stderr[-500:]}")
        print(f"Python {python}: none of {lacking[1]}", file=sys.stderr)
        del asked[canonicalize_name(lacking[1])]
    found = json.loads(done.stdout)["install"]
    return {
        canonicalize_name(each["metadata"]["name"]): str(each["download_info"]["url"]).rsplit("/", 1)[1].partition("#")[0]
        for each in found
    }


def table(found: Iterable[Found]) -> list[str]:
    lines = [
        "| package | version | for | " + " | ".join(f"Python {p}" for p in PYTHONS) + " |",
        "|---|---|---|" + "---|" * len(PYTHONS),
    ]
    for each in found:
        cells = [f"`{_tags(name)}`" if name else "**none**" for name in each.wheels]
        lines.append(f"| {each.name} | {each.version} | {', '.join(each.extras)} | {' | '.join(cells)} |")
    return lines


def _tags(wheel_name: str) -> str:
    return "any" if wheel_name.endswith("-none-any.whl") else wheel_name.removesuffix(".whl").rsplit("-", 1)[1]


def main() -> None:
    by_extra = {extra: needed(extra) for extra in EXTRAS}
    pins = pinned()
    versions = {
        name: pins.get(name) or importlib.metadata.version(name).partition("+")[0]
        for name in sorted(set().union(*by_extra.values()))
    }
    by_python = [wheels(versions, python) for python in PYTHONS]
    found = []
    for name, version in versions.items():
        extras = tuple(extra for extra in EXTRAS if name in by_extra[extra])
        found.append(
            Found(name, version, extras[:1] if "edge" in extras else extras, tuple(has.get(name, "") for has in by_python))
        )
    lacking = [each.name for each in found if not all(each.wheels)]
    said = f"{len(found)} packages, {len(found) - len(lacking)} with a wheel for arm64" + (
        f"; without: {', '.join(lacking)}" if lacking else ""
    )
    today = datetime.date.today().isoformat()
    head = PAGE.read_text().partition(BEGIN)[0]
    PAGE.write_text(head + "\n".join([BEGIN, "", f"Asked on {today}: {said}.", "", *table(found)]) + "\n")
    print(said)


if __name__ == "__main__":
    main()
