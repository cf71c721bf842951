"""The built wheel in an empty environment, away from the source tree: what it installs, and that both commands run.

The packages that littoral needs come from this test's own environment, by a .pth file: they are large, and pip is not under test.
The source tree's own littoral is not on that path, because an editable install is a .pth file itself, and Python reads those of
the environment alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.kit.shapes import shape_arrays

ROOT = Path(__file__).parents[2]
NOT_FOUND = 4


def ran(*words: str | Path, folder: Path, code: int = 0) -> str:
    """Standard output and error of a command, started in a folder without PYTHONPATH; it must end with this code."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps")
    subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True)
    return next(folder.glob("littoral-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that holds the wheel."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(place / "bin" / "python"))
    subprocess.run([*pip, "install", "--quiet", "--no-deps", str(wheel)], check=True)
    [packages] = place.glob("lib/python*/site-packages")
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin"


def test_it_installs_three_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        top = {name.split("/")[0] for name in file.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"littoral", "littoral_cloud", "littoral_node"}


def test_it_has_the_page(wheel: Path) -> None:
    page = ROOT / "cloud" / "littoral_cloud" / "web"
    files = [*(page / "static").rglob("*.*"), *(page / "templates").rglob("*.*")]
    needed = {path.relative_to(page.parents[1]).as_posix() for path in files}
    assert needed
    with zipfile.ZipFile(wheel) as file:
        assert needed <= set(file.namelist())


def test_its_modules_are_the_wheels_own(installed: Path, tmp_path: Path) -> None:
    code = "import littoral, littoral_cloud, littoral_node as n; print(littoral.__file__, littoral_cloud.__file__, n.__file__)"
    for file in ran(installed / "python", "-c", code, folder=tmp_path).split():
        assert Path(file).is_relative_to(installed.parent)


def test_the_clouds_commands_run_from_anywhere(installed: Path, tmp_path: Path) -> None:
    cloud = installed / "littoral-cloud"
    assert "rollout" in ran(cloud, "--help", folder=tmp_path)
    assert "Example:" in ran(cloud, "run", "start", "--help", folder=tmp_path)
    x, y = shape_arrays(30)
    np.savez(tmp_path / "shapes.npz", x=x, y=y, labels=np.array(["circle", "cross", "square"]))
    written = json.loads(ran(cloud, "init", "project", "--data", "shapes.npz", "--format", "json", folder=tmp_path))
    assert all((tmp_path / "project" / name).is_file() for name in written["files"])
    ran(cloud, "token", "create", "--address", "127.0.0.1:1", "--data-dir", "cloud", folder=tmp_path)
    [token] = json.loads(ran(cloud, "token", "list", "--data-dir", "cloud", "--format", "json", folder=tmp_path))
    assert token["state"] == "usable"


def test_the_demo_without_a_source_tree_names_what_to_download(installed: Path, tmp_path: Path) -> None:
    said = ran(installed / "littoral-cloud", "demo", folder=tmp_path, code=NOT_FOUND)
    assert "Traceback" not in said
    assert "train-images-idx3-ubyte.gz" in said
    assert "https://" in said
    assert "--data DIR" in said
    assert not (tmp_path / "out").exists()


def test_the_nodes_commands_run_from_anywhere(installed: Path, wheel: Path, tmp_path: Path) -> None:
    node = installed / "littoral-node"
    assert "doctor" in ran(node, "--help", folder=tmp_path)
    findings = json.loads(ran(node, "doctor", "--data", "here", "--format", "json", folder=tmp_path, code=1))["findings"]
    verdicts = {finding["check"]: finding["verdict"] for finding in findings}
    assert (verdicts["enrolled"], verdicts["runtime"]) == ("bad", "none")
    steps = ran(node, "install", "--from", wheel, "--root", tmp_path / "root", "--dry-run", folder=tmp_path)
    assert "would make an environment" in steps
