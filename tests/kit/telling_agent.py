"""littoral-node that writes down, as it ends, which modules it had imported: one a line, to the file MODULES_TO."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

from littoral_node.cli import main


def _tell() -> None:
    Path(os.environ["MODULES_TO"]).write_text("\n".join(sorted(sys.modules)))


if __name__ == "__main__":
    atexit.register(_tell)
    main()
