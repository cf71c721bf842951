"""Releases beside each other: which one runs, which are whole, and the way back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from littoral.errors import BadInput, FleetError, NotFound, Unavailable
from littoral_node.identity.folder import NodeFolder
from littoral_node.installing.environments import InstallFailed, Source, version_of, wheel_of
from littoral_node.installing.install import InstallRequest, removal_steps
from littoral_node.installing.layout import Install, Layout
from littoral_node.installing.uninstall import uninstall_steps
from littoral_node.installing.upgrade import UpgradeRefused, restarted, upgrade_steps
from littoral_node.installing.work import carried_out


class Manager:
    """Starts whatever `current` points to, unless it is one of `broken`."""

    def __init__(self, layout: Layout, *broken: str) -> None:
        self._layout, self._broken = layout, broken
        self.started: list[str] = []

    def start(self) -> None:
        self.restart(0.0)

    def restart(self, within_s: float) -> None:
        self.started.append(self._layout.running())
        if self._layout.running() in self._broken:
            raise InstallFailed("systemctl: ended with 1: timeout")

    def remove(self) -> None:
        self.started.append("")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "opt")
    for name in ("1.0", "1.1"):
        made.release(name).mkdir(parents=True)
        made.mark_complete(name, name)
    made.switch("1.0")
    return made


def test_a_release_in_use_is_never_written_to(layout: Layout) -> None:
    assert (layout.running(), layout.releases()) == ("1.0", ["1.0", "1.1"])
    assert layout.free_name("1.0") == "1.0-2"
    layout.release("1.2").mkdir()  # half made: its name is free
    assert layout.free_name("1.2") == "1.2"


def test_old_releases_go_and_nothing_else_does(layout: Layout) -> None:
    layout.current.unlink()  # then nothing runs: an upgrade that keeps no old release must not take the prefix for one
    wanted = InstallRequest(
        Install(str(layout.prefix), str(layout.prefix.parent / "data"), ("edge",)), Path("w.whl"), "2.0", Source(), ()
    )
    *_, last = [step.action for step in upgrade_steps(wanted, None, within_s=1.0, keep=0)]
    assert last == f"remove {layout.release('1.1')}"
    carried_out(removal_steps(layout, ("1.1",)), lambda *_: None, dry=False)
    assert (layout.releases(), layout.prefix.is_dir()) == (["1.1"], True)


def test_what_does_not_get_ready_is_switched_back(layout: Layout) -> None:
    manager = Manager(layout, "1.1")
    layout.switch("1.1")
    with pytest.raises(UpgradeRefused, match=r"1.1 was not ready in 5 s") as refused:
        restarted(layout, manager, "1.0", "1.1", 5.0)
    assert "1.0 runs again" in refused.value.hint
    assert (manager.started, layout.running(), layout.releases()) == (["1.1", "1.0"], "1.0", ["1.0"])


def test_where_not_even_the_old_one_starts_both_are_named_and_the_old_one_stays(layout: Layout) -> None:
    layout.switch("1.1")
    with pytest.raises(UpgradeRefused, match=r"and 1.0 is not either"):
        restarted(layout, Manager(layout, "1.0", "1.1"), "1.0", "1.1", 5.0)
    assert layout.running() == "1.0"


def test_the_record_is_read_as_it_was_written_and_damage_is_named(layout: Layout) -> None:
    install = Install("/opt/x", "/var/lib/x", ("edge", "images"), user="littoral")
    layout.record_install(install)
    assert layout.installed() == install
    layout.record.write_text('{"schema": 1, "prefix": "/opt/x"}')
    with pytest.raises(FleetError, match="damaged"):
        layout.installed()
    layout.record.unlink()
    with pytest.raises(NotFound, match="nothing is installed"):
        layout.installed()


@pytest.mark.parametrize("purge", [False, True])
def test_uninstall_removes_what_is_ours_and_the_data_only_where_told(layout: Layout, tmp_path: Path, purge: bool) -> None:
    data, unit, command = tmp_path / "data", tmp_path / "littoral-node.service", tmp_path / "littoral-node"
    NodeFolder(data).prepare()
    unit.write_text("")
    command.symlink_to(layout.current / "bin" / "littoral-node")
    (layout.prefix / "notes.txt").write_text("mine")
    install = Install(str(layout.prefix), str(data), ("edge",), unit=str(unit), command=str(command))
    said: list[str] = []
    carried_out(uninstall_steps(install, None, purge=purge), lambda words, _: said.append(words), dry=True)
    assert data.is_dir()
    assert unit.exists()
    done: list[str] = []
    carried_out(uninstall_steps(install, None, purge=purge), lambda words, _: done.append(words), dry=False)
    assert done == said
    assert (unit.exists(), command.is_symlink(), data.is_dir()) == (False, False, not purge)
    assert [path.name for path in layout.prefix.iterdir()] == ["notes.txt"]


def test_uninstall_waits_for_nobodys_folder_and_for_no_running_agent(layout: Layout, tmp_path: Path) -> None:
    mine = tmp_path / "photos"
    mine.mkdir()
    (mine / "cat.png").write_bytes(b"")
    with pytest.raises(BadInput, match="no files of a node"):
        list(uninstall_steps(Install(str(layout.prefix), str(mine), ("edge",)), None, purge=True))
    folder = NodeFolder(tmp_path / "data")
    folder.prepare()
    steps = uninstall_steps(Install(str(layout.prefix), str(folder.root), ("edge",)), None, purge=True)
    with folder.claimed(), pytest.raises(Unavailable, match="another littoral-node runs"):
        carried_out(steps, lambda *_: None, dry=False)
    assert layout.releases() == ["1.0", "1.1"]


def test_what_is_no_wheel_of_littoral_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="neither a wheel nor a folder"):
        wheel_of(Source(tmp_path / "nothing"), [], tmp_path)
    with pytest.raises(BadInput, match="holds 0 wheels"):
        wheel_of(Source(tmp_path), [], tmp_path)
    with pytest.raises(BadInput, match="not a wheel of littoral"):
        version_of(tmp_path / "other-1.0-py3-none-any.whl")
    assert version_of(tmp_path / "littoral-1.0rc1-py3-none-any.whl") == "1.0rc1"


def test_a_version_that_no_index_has_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InstallFailed) as failed:
        wheel_of(Source(version="99.99"), [sys.executable, "-m", "pip", "--no-input"], tmp_path)
    assert "--from" in failed.value.hint
