"""littoral-cloud artifact gc in a process that kills itself at its Nth write: python -m tests.kit.dying_collector N"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from littoral_cloud.cli import execute
from littoral_cloud.store.blobs import BlobFolder
from littoral_cloud.store.redis_ledger import RedisLedger

left = int(sys.argv[1])


def dying(write: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any, **named: Any) -> Any:
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(*args, **named)

    return counted


RedisLedger.commit = dying(RedisLedger.commit)  # type: ignore[method-assign]
BlobFolder.discard = dying(BlobFolder.discard)  # type: ignore[method-assign]
BlobFolder.sweep = dying(BlobFolder.sweep)  # type: ignore[method-assign]
sys.exit(execute(["artifact", "gc", "--format", "json"]))
