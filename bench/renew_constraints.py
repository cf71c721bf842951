"""Rewrites constraints.txt: the newest set that pyproject.toml allows, resolved in a fresh environment.

Run by `make constraints`. Local version labels (torch's "+cpu") are dropped, so that the pins hold for every build.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_PINNED = {"pip", "setuptools", "wheel", "littoral"}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="littoral-pins-") as folder:
        venv.create(folder, with_pip=True)
        pip = [str(Path(folder) / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", f"{ROOT}[cloud,edge,edge-train,ncnn,coreml,dev]"], check=True)
        subprocess.run([*pip, "check"], check=True)
        frozen = subprocess.run([*pip, "freeze", "--exclude", "littoral"], check=True, capture_output=True, text=True).stdout
    pins = sorted((line.split("+")[0] for line in frozen.splitlines() if "==" in line), key=str.lower)
    pins = [pin for pin in pins if pin.split("==")[0].lower() not in NOT_PINNED]
    (ROOT / "constraints.txt").write_text("\n".join(pins) + "\n")
    print(f"constraints.txt: {len(pins)} pins", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
