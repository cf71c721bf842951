"""Lines and records at the end of a file, where the disk is full in the middle of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from littoral_node.identity.files import append_synced
from tests.kit.patience import PATIENCE_S

FULL_AT = 100
CODE = f"""
import resource, signal, sys
from pathlib import Path
from littoral_node.identity.files import append_synced
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({FULL_AT}, {FULL_AT}))
try:
    append_synced(Path(sys.argv[1]), b"b" * 60)
except OSError as error:
    print(error.strerror)
"""


def test_what_does_not_fit_leaves_no_trace(tmp_path: Path) -> None:
    place = tmp_path / "lines"
    append_synced(place, b"a" * 60)
    ended = subprocess.run(
        [sys.executable, "-c", CODE, str(place)], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert ended.stdout == "File too large\n"
    assert place.read_bytes() == b"a" * 60
    append_synced(place, b"c" * 40)
    assert place.read_bytes() == b"a" * 60 + b"c" * 40
