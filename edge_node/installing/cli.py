"""The words of `littoral-node install`, `upgrade` and `uninstall`, and how their steps are printed."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from edge_node.installing.environments import Source, base_python, own_version, pip_of, version_of, wheel_of
from edge_node.installing.install import Wanted, install_steps, node_command
from edge_node.installing.layout import COMMAND, DATA, PREFIX, UNIT, USER, Install, Layout
from edge_node.installing.system import Service, Systemd, is_root, why_no_systemd
from edge_node.installing.uninstall import uninstall_steps
from edge_node.installing.upgrade import upgrade_steps
from edge_node.installing.work import Step, carried_out
from littoral.errors import BadInput

_EXAMPLES = {
    "install": "example: sudo littoral-node install littoral-join-1.WyJjb... --name gateway",
    "upgrade": "example: sudo littoral-node upgrade --from littoral-0.2.0-py3-none-any.whl",
    "uninstall": "example: sudo littoral-node uninstall --keep-data",
}
_ALWAYS = "edge"
_EXTRAS = ("images", "edge-train", "ncnn", "coreml")
_MEMORY = re.compile(r"[1-9][0-9]*[KMG]?|infinity")
_TRAINS, _INFERS = "1500M", "512M"


def add_commands(nouns: Any) -> None:
    """Adds the three to `littoral-node`'s own."""
    form = argparse.ArgumentParser(add_help=False)
    form.add_argument("--format", choices=("text", "json"), default="text", help="how to print (default text)")
    form.add_argument("--dry-run", action="store_true", help="print what it would do, and do nothing")
    form.add_argument("--prefix", type=Path, metavar="DIR", help=f"where it is installed (default {PREFIX})")
    origin = argparse.ArgumentParser(add_help=False)
    origin.add_argument(
        "--from",
        dest="origin",
        type=Path,
        metavar="PATH",
        help="a wheel, a folder of wheels or a source tree; default: the package index",
    )
    origin.add_argument("--index-url", metavar="URL", help="another package index, for this time")
    origin.add_argument("--offline", action="store_true", help="no index: everything is in the folder of --from")
    origin.add_argument("--constraint", type=Path, metavar="FILE", help="versions to keep to, as pip reads them")

    install = nouns.add_parser(
        "install",
        parents=[form, origin],
        help="an environment, a user, a folder and a systemd unit for it",
        epilog=_EXAMPLES["install"],
    )
    install.add_argument(
        "join_line", nargs="?", metavar="JOIN_LINE", help="enrols too: what `littoral-cloud token create` printed"
    )
    install.add_argument("--join-file", type=Path, metavar="PATH", help="file that holds the join line")
    install.add_argument("--name", default="", metavar="NAME", help="what you call this node")
    install.add_argument("--data", type=Path, metavar="DIR", help=f"the one folder that it may write (default {DATA})")
    install.add_argument(
        "--extras", default="images", metavar="NAMES", help=f"by comma, of {', '.join(_EXTRAS)} (default images)"
    )
    install.add_argument("--python", type=Path, metavar="PATH", help="interpreter to make the environment of (default: this one)")
    install.add_argument("--user", default=USER, metavar="NAME", help=f"system user that it runs as (default {USER})")
    install.add_argument(
        "--memory-max", metavar="SIZE", help=f"the unit's MemoryMax (default {_INFERS}, with edge-train {_TRAINS})"
    )
    install.add_argument("--devices", action="store_true", help="it may see accelerators and cameras")
    install.add_argument("--no-systemd", action="store_true", help="no unit and no user; says what to run instead")
    install.add_argument(
        "--root", type=Path, metavar="DIR", help="put all of it below DIR, start nothing: to look at, or for an image"
    )

    upgrade = nouns.add_parser(
        "upgrade",
        parents=[form, origin],
        help="a new release beside the old one, and back if it fails",
        epilog=_EXAMPLES["upgrade"],
    )
    upgrade.add_argument(
        "--ready-within", type=float, default=120.0, metavar="S", help="seconds that the new one has (default 120)"
    )
    upgrade.add_argument("--keep", type=int, choices=(0, 1), default=1, help="how many old releases stay (default 1)")

    uninstall = nouns.add_parser(
        "uninstall", parents=[form], help="take it off this machine; the data as you say", epilog=_EXAMPLES["uninstall"]
    )
    fate = uninstall.add_mutually_exclusive_group()
    fate.add_argument("--purge", action="store_true", help="the data folder goes: identity, models, reports")
    fate.add_argument("--keep-data", action="store_true", help="the data folder stays: installed again, it is the same node")


class _Printer:
    def __init__(self, form: str, dry: bool) -> None:
        self._form, self._dry = form, dry
        self._steps: list[dict[str, str]] = []

    def step(self, words: str, came: str) -> None:
        self._steps.append({"step": words, "detail": came})
        if self._form == "text":
            print(f"{'would ' if self._dry else ''}{words}" + (f": {came}" if came else ""), flush=True)

    def end(self, notes: Iterable[str]) -> None:
        if self._form == "json":
            print(json.dumps({"dry_run": self._dry, "steps": self._steps, "next": list(notes)}), flush=True)
        else:
            for note in notes:
                print(note, flush=True)


def install(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
    chosen, notes = _chosen(parsed), []
    staged = parsed.root is not None
    why = "" if staged else "--no-systemd" if parsed.no_systemd else why_no_systemd()
    service = None if staged or why else Systemd(UNIT)
    with _got(parsed, chosen.python, own_version()) as (wheel, pip, source):
        wanted = Wanted(chosen, wheel, version_of(wheel), source, pip, _join(parsed, environment), parsed.name)
        printer = _Printer(parsed.format, parsed.dry_run)
        _carried_out(Layout(Path(chosen.prefix)), install_steps(wanted, service), printer, dry=parsed.dry_run)
    command = Path(chosen.command or node_command(Layout(Path(chosen.prefix))))
    as_user = f"sudo -u {chosen.user} " if chosen.user else ""
    if staged:
        notes.append(f"nothing is started below --root, and no user was made: systemd-analyze verify {chosen.unit}")
    elif why:
        notes.append(f"no unit was written: {why}")
    if not wanted.join and not (Path(chosen.data) / "node.json").exists():
        notes.append(f"next: {as_user}{command} enroll JOIN_LINE --data {chosen.data}")
        notes += [f"then: systemctl enable --now {UNIT.name}"] if service else []
    if service is None:
        notes.append(f"to run it: {as_user}{command} run --data {chosen.data}")
    elif wanted.join:
        notes.append(
            f"it runs: systemctl status {UNIT.name}; journalctl -u {UNIT.name}; {as_user}{command} doctor --data {chosen.data}"
        )
    printer.end(notes)
    return 0


def upgrade(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
    done = _layout(parsed).installed()
    service = _service(done)
    with _got(parsed, done.python, "") as (wheel, pip, source):
        wanted = Wanted(done, wheel, version_of(wheel), source, pip)
        printer = _Printer(parsed.format, parsed.dry_run)
        steps = upgrade_steps(wanted, service, within_s=parsed.ready_within, keep=parsed.keep)
        _carried_out(_layout(parsed), steps, printer, dry=parsed.dry_run)
    printer.end([] if service else ["the agent that runs is still the old one: start it again"])
    return 0


def uninstall(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
    done = _layout(parsed).installed()
    purge = parsed.purge or (not parsed.keep_data and _asked(done.data))
    printer = _Printer(parsed.format, parsed.dry_run)
    _carried_out(_layout(parsed), uninstall_steps(done, _service(done), purge=purge), printer, dry=parsed.dry_run)
    notes = ["its fleet still lists it: littoral-cloud node decommission NAME"] if purge else []
    printer.end([*notes, *([f"the user {done.user} stays: userdel {done.user}"] if done.user and purge else [])])
    return 0


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Mapping[str, str]], int]] = {
    "install": install,
    "upgrade": upgrade,
    "uninstall": uninstall,
}


def _chosen(parsed: argparse.Namespace) -> Install:
    """Raises BadInput, naming the flag."""
    extras = tuple(name for name in dict.fromkeys(parsed.extras.split(",")) if name and name != _ALWAYS)
    if unknown := [name for name in extras if name not in _EXTRAS]:
        raise BadInput(f"--extras: {unknown[0]!r} is none of a node's", hint=f"of {', '.join(_EXTRAS)}, by comma")
    memory = parsed.memory_max or (_TRAINS if "edge-train" in extras else _INFERS)
    if not _MEMORY.fullmatch(memory):
        raise BadInput(f"--memory-max: {memory!r} is not a size", hint="for example 512M")
    staged = parsed.root is not None
    if not (is_root() or staged or parsed.no_systemd or parsed.dry_run):
        raise BadInput(
            "install: needs root, for a unit and a user", hint="sudo; or --no-systemd with a --prefix and --data of your own"
        )

    def below(path: Path) -> Path:
        return parsed.root.expanduser().absolute() / path.relative_to("/") if staged else path

    with_unit = staged or not (parsed.no_systemd or why_no_systemd())
    with_user = not staged and not parsed.no_systemd and is_root()
    return Install(
        prefix=str((parsed.prefix or below(PREFIX)).expanduser().absolute()),
        data=str((parsed.data or below(DATA)).expanduser().absolute()),
        extras=(_ALWAYS, *extras),
        user=parsed.user if with_user else "",
        unit=str(below(UNIT)) if with_unit else "",
        command=str(below(COMMAND)) if staged or with_user else "",
        python=str(base_python(parsed.python)),
        memory_max=memory,
        devices=parsed.devices,
    )


def _carried_out(layout: Layout, steps: Iterable[Step], printer: _Printer, *, dry: bool) -> None:
    with nullcontext() if dry else layout.claimed():
        carried_out(steps, printer.step, dry=dry)


def _layout(parsed: argparse.Namespace) -> Layout:
    """Of the prefix given; else of the one that this process runs from; else the usual one."""
    own = Path(sys.prefix).parent
    return Layout((parsed.prefix or (own if (own / "install.json").is_file() else PREFIX)).expanduser().absolute())


def _service(done: Install) -> Service | None:
    return Systemd(UNIT) if done.unit == str(UNIT) and not why_no_systemd() else None


def _join(parsed: argparse.Namespace, environment: Mapping[str, str]) -> str:
    if parsed.join_file is None:
        return parsed.join_line or environment.get("LITTORAL_NODE_JOIN", "")
    try:
        return str(parsed.join_file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--join-file {parsed.join_file}: cannot be read: {error}") from error


@contextmanager
def _got(parsed: argparse.Namespace, python: str, version: str) -> Iterator[tuple[Path, tuple[str, ...], Source]]:
    """The wheel of littoral, a pip, and where the rest comes from."""
    if parsed.offline and (parsed.origin is None or not parsed.origin.is_dir()):
        raise BadInput("--offline: there is no folder of wheels", hint="--from FOLDER, made by `pip download 'littoral[edge]'`")
    options = ["--no-index"] if parsed.offline else []
    options += ["--index-url", parsed.index_url] if parsed.index_url else []
    options += ["--constraint", str(parsed.constraint.expanduser().absolute())] if parsed.constraint else []
    origin = parsed.origin.expanduser().absolute() if parsed.origin else None
    source = Source(origin, version, tuple(options))
    with tempfile.TemporaryDirectory(prefix="littoral-") as room, pip_of(Path(python), Path(room)) as pip:
        yield wheel_of(source, pip, Path(room)), tuple(pip), source


def _asked(data: str) -> bool:
    """Whether to remove the data. Raises BadInput where nobody can be asked, or neither was answered."""
    hint = "--purge removes it, --keep-data keeps it"
    if not sys.stdin.isatty():
        raise BadInput(f"uninstall: what is to become of {data}?", hint=hint)
    print(f"{data} holds the node's identity, its models and its reports. Remove it? Answer purge or keep: ", end="", flush=True)
    answer = sys.stdin.readline().strip().lower()
    if answer not in ("purge", "keep"):
        raise BadInput(f"uninstall: {answer[:20]!r} is neither purge nor keep", hint=hint)
    return answer == "purge"
