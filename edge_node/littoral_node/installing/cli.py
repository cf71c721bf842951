"""`littoral-node install`, `upgrade` and `uninstall`: from their arguments to steps, and how steps are printed."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from littoral import __version__
from littoral.errors import BadInput
from littoral_node.identity.folder import DATA
from littoral_node.installing.arguments import ALWAYS, EXTRAS, INFERS, MEMORY, TRAINS, join_line_of
from littoral_node.installing.environments import Source, base_python, pip_of, version_of, wheel_of
from littoral_node.installing.install import InstallRequest, install_steps, node_command
from littoral_node.installing.layout import COMMAND, PREFIX, UNIT, Install, Layout
from littoral_node.installing.system import Systemd, is_root, why_no_systemd
from littoral_node.installing.uninstall import uninstall_steps
from littoral_node.installing.upgrade import upgrade_steps
from littoral_node.installing.work import InstallStep, carried_out


class _Printer:
    def __init__(self, form: str, dry: bool) -> None:
        self._form, self._dry = form, dry
        self._steps: list[dict[str, str]] = []

    def step(self, action: str, outcome: str) -> None:
        self._steps.append({"step": action, "detail": outcome})
        if self._form == "text":
            print(f"{'would ' if self._dry else ''}{action}" + (f": {outcome}" if outcome else ""), flush=True)

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
    with _sources(parsed, chosen.python, __version__) as (wheel, pip, source):
        request = InstallRequest(chosen, wheel, version_of(wheel), source, pip, join_line_of(parsed, environment), parsed.name)
        printer = _Printer(parsed.format, parsed.dry_run)
        _carried_out(Layout(Path(chosen.prefix)), install_steps(request, service), printer, dry=parsed.dry_run)
    command = Path(chosen.command or node_command(Layout(Path(chosen.prefix))))
    as_user = f"sudo -u {chosen.user} " if chosen.user else ""
    if staged:
        notes.append(f"--root: nothing was started, and no user was added; check the unit: systemd-analyze verify {chosen.unit}")
    elif why:
        notes.append(f"no unit was written: {why}")
    if not request.join and not (Path(chosen.data) / "node.json").exists():
        notes.append(f"next: {as_user}{command} enroll JOIN_LINE --data {chosen.data}")
        notes += [f"then: systemctl enable --now {UNIT.name}"] if service else []
    if service is None:
        notes.append(f"to run it: {as_user}{command} run --data {chosen.data}")
    elif request.join:
        notes.append(
            f"it runs: systemctl status {UNIT.name}; journalctl -u {UNIT.name}; {as_user}{command} doctor --data {chosen.data}"
        )
    printer.end(notes)
    return 0


def upgrade(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
    done = _layout(parsed).installed()
    service = _service(done)
    with _sources(parsed, done.python, "") as (wheel, pip, source):
        request = InstallRequest(done, wheel, version_of(wheel), source, pip)
        printer = _Printer(parsed.format, parsed.dry_run)
        steps = upgrade_steps(request, service, within_s=parsed.ready_within, keep=parsed.keep)
        _carried_out(_layout(parsed), steps, printer, dry=parsed.dry_run)
    printer.end([] if service else ["the running agent is still the old one: restart it"])
    return 0


def uninstall(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
    done = _layout(parsed).installed()
    purge = parsed.purge or (not parsed.keep_data and _asked(done.data))
    printer = _Printer(parsed.format, parsed.dry_run)
    _carried_out(_layout(parsed), uninstall_steps(done, _service(done), purge=purge), printer, dry=parsed.dry_run)
    notes = ["its fleet still lists it: littoral-cloud node decommission NAME"] if purge else []
    printer.end([*notes, *([f"the user {done.user} stays: userdel {done.user}"] if done.user and purge else [])])
    return 0


def _chosen(parsed: argparse.Namespace) -> Install:
    """Raises BadInput, naming the flag."""
    extras = tuple(name for name in dict.fromkeys(parsed.extras.split(",")) if name and name != ALWAYS)
    if unknown := [name for name in extras if name not in EXTRAS]:
        raise BadInput(
            f"--extras: {unknown[0]!r} is no extra of a node", hint=f"choose of {', '.join(EXTRAS)}, separated by commas"
        )
    memory = parsed.memory_max or (TRAINS if "edge-train" in extras else INFERS)
    if not MEMORY.fullmatch(memory):
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
        extras=(ALWAYS, *extras),
        user=parsed.user if with_user else "",
        unit=str(below(UNIT)) if with_unit else "",
        command=str(below(COMMAND)) if staged or with_user else "",
        python=str(base_python(parsed.python)),
        memory_max=memory,
        devices=parsed.devices,
    )


def _carried_out(layout: Layout, steps: Iterable[InstallStep], printer: _Printer, *, dry: bool) -> None:
    with nullcontext() if dry else layout.claimed():
        carried_out(steps, printer.step, dry=dry)


def _layout(parsed: argparse.Namespace) -> Layout:
    """The layout of --prefix; else of the prefix that this process runs from; else the default."""
    own = Path(sys.prefix).parent
    return Layout((parsed.prefix or (own if (own / "install.json").is_file() else PREFIX)).expanduser().absolute())


def _service(done: Install) -> Systemd | None:
    return Systemd(UNIT) if done.unit == str(UNIT) and not why_no_systemd() else None


@contextmanager
def _sources(parsed: argparse.Namespace, python: str, version: str) -> Iterator[tuple[Path, tuple[str, ...], Source]]:
    """The wheel of littoral, a pip, and the source of the other packages."""
    if parsed.offline and (parsed.origin is None or not parsed.origin.is_dir()):
        raise BadInput("--offline: there is no folder of wheels", hint="--from FOLDER, made by `pip download 'littoral[edge]'`")
    options = ["--no-index"] if parsed.offline else []
    options += ["--index-url", parsed.index_url] if parsed.index_url else []
    options += ["--constraint", str(parsed.constraint.expanduser().absolute())] if parsed.constraint else []
    origin = parsed.origin.expanduser().absolute() if parsed.origin else None
    source = Source(origin, version, tuple(options))
    with tempfile.TemporaryDirectory(prefix="littoral-") as room:
        pip = pip_of(Path(python), Path(room))
        yield wheel_of(source, pip, Path(room)), pip, source


def _asked(data: str) -> bool:
    """Asks whether to remove the data. Raises BadInput without a terminal, and for another answer."""
    hint = "--purge removes it, --keep-data keeps it"
    if not sys.stdin.isatty():
        raise BadInput(f"uninstall: remove or keep {data}?", hint=hint)
    print(f"{data} holds the node's identity, its models and its reports. Remove it? Answer purge or keep: ", end="", flush=True)
    answer = sys.stdin.readline().strip().lower()
    if answer not in ("purge", "keep"):
        raise BadInput(f"uninstall: {answer[:20]!r} is neither purge nor keep", hint=hint)
    return answer == "purge"
