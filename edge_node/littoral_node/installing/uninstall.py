"""The steps of `littoral-node uninstall`: removes everything that `install` made, and the data folder with `purge`."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from littoral.errors import BadInput
from littoral_node.identity.folder import NodeFolder
from littoral_node.installing.layout import Install, Layout
from littoral_node.installing.system import Systemd
from littoral_node.installing.work import InstallStep

_OURS = ("node.json", "artifacts", "models", "blobs", ".lock")


def uninstall_steps(install: Install, service: Systemd | None, *, purge: bool) -> Iterator[InstallStep]:
    """`purge`: remove the data folder too, with the node's identity and models. Raises BadInput where it is no node's folder."""
    layout, data, unit = Layout(Path(install.prefix)), Path(install.data), Path(install.unit)
    if purge and data.is_dir() and not _a_nodes(data):
        raise BadInput(f"{data}: holds no files of a node, and is not removed", hint="use --keep-data, and remove it by hand")
    if service is not None and unit.exists():
        yield InstallStep(f"stop {unit.name}, and disable it", service.remove)
    elif data.is_dir():
        yield InstallStep("check that no agent runs", lambda: _check_unused(data))
    if install.unit:
        yield InstallStep(f"remove {unit}", lambda: unit.unlink(missing_ok=True))
    if install.command:
        yield InstallStep(f"remove {install.command}", lambda: _unlink(Path(install.command), layout))
    yield InstallStep(f"remove {layout.prefix}", lambda: _releases(layout))
    if purge:
        yield InstallStep(f"remove {data}: the node's identity, its models, its reports", lambda: _purged(data))
    else:
        yield InstallStep(f"keep {data}", lambda: None)


def _purged(data: Path) -> str:
    """Removes the data folder. Raises BadInput where a file in it cannot be removed."""
    if not data.is_dir():
        return "there is none"
    try:
        for entry in data.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        data.rmdir()
    except OSError as error:
        if error.errno == errno.EBUSY and not any(data.iterdir()):
            return "emptied; something is mounted there"
        raise BadInput(f"{error.filename or data}: cannot be removed: {error.strerror}", hint="run it as root") from error
    return ""


def _a_nodes(data: Path) -> bool:
    return any((data / name).exists() for name in _OURS) or not any(data.iterdir())


def _check_unused(data: Path) -> None:
    """Raises Unavailable where an agent runs on this folder."""
    with NodeFolder(data).claimed():
        return


def _unlink(link: Path, layout: Layout) -> None:
    if link.is_symlink() and layout.prefix in link.readlink().parents:
        link.unlink()


def _releases(layout: Layout) -> None:
    """Removes our files in the prefix, and the prefix where nothing else is in it."""
    for name in layout.releases():
        layout.remove(name)
    layout.current.unlink(missing_ok=True)
    layout.record.unlink(missing_ok=True)
    (layout.prefix / ".lock").unlink(missing_ok=True)
    with suppress(OSError):  # not empty: other files stay
        layout.prefix.rmdir()
