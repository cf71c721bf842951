"""`littoral-node install`: the steps, and nothing about how they are printed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from littoral.errors import unwritten
from littoral_node.identity.folder import write_atomic
from littoral_node.installing.environments import Source, fill, make, ran
from littoral_node.installing.layout import Install, Layout, relink
from littoral_node.installing.system import Service, add_user, give, has_user
from littoral_node.installing.unit import Unit
from littoral_node.installing.work import Step

_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be installed, and how."""

    install: Install
    wheel: Path
    version: str
    source: Source
    pip: tuple[str, ...]
    join: str = ""  # a join line; "": it is not enrolled now
    name: str = ""


def node_command(layout: Layout, name: str = "current") -> Path:
    return layout.prefix / name / "bin" / "littoral-node"


def in_a_home(python: Path) -> bool:
    return any(home in python.resolve().parents for home in _HOMES)


def unit_of(install: Install) -> Unit:
    return Unit(
        command=node_command(Layout(Path(install.prefix))),
        data=Path(install.data),
        user=install.user,
        memory_max=install.memory_max,
        home_python=in_a_home(Path(install.python)),
        devices=install.devices,
    )


def environment_steps(layout: Layout, wanted: Wanted, name: str) -> Iterator[Step]:
    """A release beside whatever is there."""
    python, place = Path(wanted.install.python), layout.release(name)
    extras = ",".join(wanted.install.extras)

    def made() -> None:
        layout.prefix.mkdir(parents=True, exist_ok=True)
        make(python, place)

    def filled() -> None:
        try:
            fill(place, wanted.wheel, wanted.install.extras, wanted.pip, wanted.source)
        except BaseException:
            layout.remove(name)
            raise

    def checked() -> str:
        return ran([node_command(layout, name), "--version"], user=wanted.install.user).strip()

    yield Step(f"make an environment of {python} in {place}", _told(layout.prefix, made))
    yield Step(f"install {wanted.wheel.name} with [{extras}] into it", filled)
    if wanted.install.user:
        yield Step(f"see that {wanted.install.user} can run it", checked)
    else:
        yield Step("see that it runs", checked)
    yield Step(f"mark {name} as whole", lambda: layout.mark_whole(name, wanted.version))


def install_steps(wanted: Wanted, service: Service | None) -> Iterator[Step]:
    """`service` None: this machine has no systemd, or it is not to be asked."""
    install = wanted.install
    layout, data = Layout(Path(install.prefix)), Path(install.data)
    name = layout.free_name(wanted.version)
    if install.user and not has_user(install.user):
        yield Step(f"add the system user {install.user}", lambda: add_user(install.user, data))
    yield from environment_steps(layout, wanted, name)
    yield Step(f"switch {layout.current} to {name}", lambda: layout.switch(name))
    yield Step(f"write {layout.record}", lambda: layout.keep(install))
    if install.command:
        yield Step(f"link {install.command} to it", lambda: _link(Path(install.command), node_command(layout)))
    yield Step(f"make {data}" + (f", for {install.user} alone" if install.user else ""), lambda: _data(data, install.user))
    if wanted.join:
        yield Step("enrol", lambda: enrol(layout, wanted))
    if install.unit:
        yield Step(f"write {install.unit}", lambda: write_unit(install))
    if service is not None and (wanted.join or (data / "node.json").exists()):
        yield Step("start it, now and with the machine; wait until it is ready", service.start)
    yield from removal_steps(layout, (name,))


def removal_steps(layout: Layout, kept: Collection[str]) -> Iterator[Step]:
    """Every other release goes."""
    for name in layout.releases():
        if name not in kept:
            yield Step(f"remove {layout.release(name)}", partial(layout.remove, name))


def write_unit(install: Install) -> None:
    unit = Path(install.unit)

    def written() -> None:
        unit.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(unit, unit_of(install).text().encode())

    _told(unit, written)()


def enrol(layout: Layout, wanted: Wanted) -> str:
    """The join line goes by the environment: arguments are everybody's to read."""
    words = [node_command(layout), "enroll", "--data", wanted.install.data, *(("--name", wanted.name) if wanted.name else ())]
    return ran(words, user=wanted.install.user, environment={"LITTORAL_NODE_JOIN": wanted.join}).strip()


def _data(data: Path, user: str) -> None:
    def made() -> None:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        data.chmod(0o700)
        if user:
            give(data, user)

    _told(data, made)()


def _link(link: Path, target: Path) -> str:
    if link.exists() and not link.is_symlink():
        return f"left alone: {link} is a file of somebody else's"

    def linked() -> None:
        link.parent.mkdir(parents=True, exist_ok=True)
        relink(link, target)

    _told(link, linked)()
    return ""


def _told(what: Path, work: Callable[[], None]) -> Callable[[], None]:
    """The same work; an OSError becomes words that name the place and the way out."""

    def told() -> None:
        try:
            work()
        except OSError as error:
            raise unwritten(
                str(what), error, hint="run it as root, or name --prefix and --data of your own with --no-systemd"
            ) from error

    return told
