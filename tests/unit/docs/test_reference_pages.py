"""docs/reference/ is generated from the code, and the generator refuses what it cannot document."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


def test_the_pages_are_what_the_code_says() -> None:
    subprocess.run([sys.executable, str(DOCS / "write_reference.py"), "--check"], check=True)


def test_an_rpc_whose_caller_is_not_checked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    rpcs = importlib.import_module("pages.rpcs")
    monkeypatch.setattr(rpcs, "AUDIENCES", {name: who for name, who in rpcs.AUDIENCES.items() if not name.endswith("/GetBlob")})
    with pytest.raises(LookupError, match=r"BlobService\.GetBlob"):
        rpcs.page()
