"""docs/notebooks/students.ipynb, run as it stands in a kernel of its own: a cell that fails fails here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebooks" / "students.ipynb"


@pytest.fixture
def jupyter_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Jupyter writes goes to a folder of the test, and its kernel imports what is tested here."""
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))


def cells() -> Any:
    import nbformat

    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_lies_there_without_outputs() -> None:
    for cell in cells().cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), "clear all outputs before you commit it"


def said(notebook: Any) -> Iterator[str]:
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.output_type == "stream", output
            yield from output.text.splitlines()


@pytest.mark.slow
@pytest.mark.timeout(900)  # a hang: it takes half a minute where nothing else runs
@pytest.mark.usefixtures("jupyter_alone")
def test_every_step_runs_from_the_data_to_a_students_answers() -> None:
    from nbclient import NotebookClient

    notebook = cells()
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    lines = list(said(notebook))
    assert lines[0].startswith("mnist (1, 28, 28) 2500 training examples")
    [chosen] = [line.removeprefix("chosen: ") for line in lines if line.startswith("chosen: ")]
    assert chosen in ("small-onnx-int8", "qat-onnx-int8"), "the others are over 12 KB"
    assert any(line.startswith("on the test split: found-") for line in lines)
    answers, labels = (next(line for line in lines if line.startswith(name)) for name in ("answers:", "labels:"))
    right = sum(a == b for a, b in zip(answers.split(":")[1].split(), labels.split(":")[1].split(), strict=True))
    assert right >= 6
