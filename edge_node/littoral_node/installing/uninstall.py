"""`littoral-node uninstall`: everything that `install` made goes; the data folder as told."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from littoral.errors import BadInput
from littoral_node.identity.folder import NodeFolder
from littoral_node.installing.layout import Install, Layout
from littoral_node.installing.system import Service
from littoral_node.installing.work import Step

_OURS = ("node.json", "artifacts", "models", "blobs", ".lock")


def uninstall_steps(install: Install, service: Service | None, *, purge: bool) -> Iterator[Step]:
    """`purge`: the data folder goes too, with the node's identity and models. Raises BadInput where that is no node's folder."""
    layout, data, unit = Layout(Path(install.prefix)), Path(install.data), Path(install.unit)
    if purge and data.is_dir() and not _a_nodes(data):
        raise BadInput(f"{data}: holds nothing of a node's, and is not removed", hint="--keep-data, and remove it by hand")
    if service is not None and unit.exists():
        yield Step(f"stop {unit.name}, and start it no more", service.remove)
    elif data.is_dir():
        yield Step("see that no agent runs", lambda: _nobody(data))
    if install.unit:
        yield Step(f"remove {unit}", lambda: unit.unlink(missing_ok=True))
    if install.command:
        yield Step(f"remove {install.command}", lambda: _unlink(Path(install.command), layout))
    yield Step(f"remove {layout.prefix}", lambda: _releases(layout))
    if purge:
        yield Step(f"remove {data}: the node's identity, its models, its reports", lambda: _purged(data))
    else:
        yield Step(f"keep {data}", lambda: None)


def _purged(data: Path) -> str:
    """Raises BadInput where something in it cannot be removed."""
    if not data.is_dir():
        return "it is gone already"
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


def _nobody(data: Path) -> None:
    """Raises Unavailable where an agent runs on this folder."""
    with NodeFolder(data).claimed():
        return


def _unlink(link: Path, layout: Layout) -> None:
    if link.is_symlink() and layout.prefix in link.readlink().parents:
        link.unlink()


def _releases(layout: Layout) -> None:
    """What is ours in the prefix; the folder itself where nothing else is in it."""
    for name in layout.releases():
        layout.remove(name)
    layout.current.unlink(missing_ok=True)
    layout.record.unlink(missing_ok=True)
    (layout.prefix / ".lock").unlink(missing_ok=True)
    with suppress(OSError):  # not empty: somebody else's files stay
        layout.prefix.rmdir()
