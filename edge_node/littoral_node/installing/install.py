"""The steps of `littoral-node install`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from littoral.errors import unwritten
from littoral_node.identity.files import write_atomic
from littoral_node.installing.environments import Source, fill, make, ran
from littoral_node.installing.layout import Install, Layout, relink
from littoral_node.installing.system import Systemd, add_user, give, has_user
from littoral_node.installing.unit import SystemdUnit
from littoral_node.installing.work import InstallStep

_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


@dataclass(frozen=True, slots=True)
class InstallRequest:
    """What to install, and from where."""

    install: Install
    wheel: Path
    version: str
    source: Source
    pip: tuple[str, ...]
    join: str = ""  # a join line; "": do not enrol now
    name: str = ""


def node_command(layout: Layout, name: str = "current") -> Path:
    return layout.prefix / name / "bin" / "littoral-node"


def in_a_home(python: Path) -> bool:
    return any(home in python.resolve().parents for home in _HOMES)


def unit_of(install: Install) -> SystemdUnit:
    return SystemdUnit(
        command=node_command(Layout(Path(install.prefix))),
        data=Path(install.data),
        user=install.user,
        memory_max=install.memory_max,
        home_python=in_a_home(Path(install.python)),
        devices=install.devices,
    )


def environment_steps(layout: Layout, request: InstallRequest, name: str) -> Iterator[InstallStep]:
    """Installs a release beside those that are there."""
    python, place = Path(request.install.python), layout.release(name)
    extras = ",".join(request.install.extras)

    def made() -> None:
        with _explained(layout.prefix):
            layout.prefix.mkdir(parents=True, exist_ok=True)
            make(python, place)

    def filled() -> None:
        try:
            fill(place, request.wheel, request.install.extras, request.pip, request.source)
        except BaseException:
            layout.remove(name)
            raise

    def checked() -> str:
        return ran([node_command(layout, name), "--version"], user=request.install.user).strip()

    yield InstallStep(f"make an environment of {python} in {place}", made)
    yield InstallStep(f"install {request.wheel.name} with [{extras}] into it", filled)
    user = request.install.user
    yield InstallStep(f"check that {user} can run it" if user else "check that it runs", checked)
    yield InstallStep(f"mark {name} as complete", lambda: layout.mark_complete(name, request.version))


def install_steps(request: InstallRequest, service: Systemd | None) -> Iterator[InstallStep]:
    """`service` None: without systemd."""
    install = request.install
    layout, data = Layout(Path(install.prefix)), Path(install.data)
    name = layout.free_name(request.version)
    if install.user and not has_user(install.user):
        yield InstallStep(f"add the system user {install.user}", lambda: add_user(install.user, data))
    yield from environment_steps(layout, request, name)
    yield InstallStep(f"switch {layout.current} to {name}", lambda: layout.switch(name))
    yield InstallStep(f"write {layout.record}", lambda: layout.record_install(install))
    if install.command:
        yield InstallStep(f"link {install.command} to it", lambda: _link(Path(install.command), node_command(layout)))
    yield InstallStep(f"make {data}" + (f", for {install.user} alone" if install.user else ""), lambda: _data(data, install.user))
    if request.join:
        yield InstallStep("enrol", lambda: enrol(layout, request))
    if install.unit:
        yield InstallStep(f"write {install.unit}", lambda: write_unit(install))
    if service is not None and (request.join or (data / "node.json").exists()):
        yield InstallStep("start it now and at every boot; wait until it is ready", service.start)
    yield from removal_steps(layout, (name,))


def removal_steps(layout: Layout, retained: Collection[str]) -> Iterator[InstallStep]:
    """Removes every release that is not in `retained`."""
    for name in layout.releases():
        if name not in retained:
            yield InstallStep(f"remove {layout.release(name)}", partial(layout.remove, name))


def write_unit(install: Install) -> None:
    unit = Path(install.unit)
    with _explained(unit):
        unit.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(unit, unit_of(install).text().encode())


def enrol(layout: Layout, request: InstallRequest) -> str:
    """Passes the join line in the environment: every user can read the arguments of a process."""
    name = ("--name", request.name) if request.name else ()
    command = [node_command(layout), "enroll", "--data", request.install.data, *name]
    return ran(command, user=request.install.user, environment={"LITTORAL_NODE_JOIN": request.join}).strip()


def _data(data: Path, user: str) -> None:
    with _explained(data):
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        data.chmod(0o700)
        if user:
            give(data, user)


def _link(link: Path, target: Path) -> str:
    if link.exists() and not link.is_symlink():
        return f"left unchanged: {link} is not a link of ours"
    with _explained(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        relink(link, target)
    return ""


@contextmanager
def _explained(what: Path) -> Iterator[None]:
    """An OSError becomes a FleetError that names the path, with a hint."""
    try:
        yield
    except OSError as error:
        hint = "run it as root, or name --prefix and --data of your own with --no-systemd"
        raise unwritten(str(what), error, hint=hint) from error
