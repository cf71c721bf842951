"""littoral-node of another time: it speaks a protocol that no cloud of today knows."""

from __future__ import annotations

import edge_node.wire
from edge_node.cli import main

if __name__ == "__main__":
    edge_node.wire.PROTOCOL_VERSION = 99
    main()
