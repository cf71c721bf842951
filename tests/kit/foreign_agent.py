"""littoral-node of another time: it speaks a protocol that no cloud of today knows."""

from __future__ import annotations

import littoral_node.link.wire
from littoral_node.cli import main

if __name__ == "__main__":
    littoral_node.link.wire.PROTOCOL_VERSION = 99
    main()
