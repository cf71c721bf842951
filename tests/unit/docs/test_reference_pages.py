"""docs/reference/ is generated from the code, and the generator refuses what it cannot document."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
BLOBS = ROOT / "cloud" / "littoral_cloud" / "api" / "blob_service.py"


def test_the_pages_are_what_the_code_says() -> None:
    subprocess.run([sys.executable, str(DOCS / "write_reference.py"), "--check"], check=True)


def test_an_rpc_whose_caller_is_not_checked_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    rpcs = importlib.import_module("pages.rpcs")
    for path in BLOBS.parent.glob("*.py"):
        text = path.read_text()
        changed = text.replace("self._calls.accepted(context)", "self._calls.anyone(context)", 1) if path == BLOBS else text
        (tmp_path / path.name).write_text(changed)
    monkeypatch.setattr(rpcs, "API", tmp_path)
    with pytest.raises(LookupError, match=r"BlobService\.GetBlob"):
        rpcs.page()
