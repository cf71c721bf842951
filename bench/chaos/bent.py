"""littoral-cloud or littoral-node with a clock that can be moved; a node can also be made to say things twice.

    python -m bench.chaos.bent FILE cloud|node ARGUMENTS...

At SIGUSR2 it reads FILE: {"clock_s": seconds that its clock is ahead, "repeats": whether the node says each thing twice, and one
of its last things once more after a newer one}. Everything else is the command itself.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

REMEMBERED = 16
real = time.time  # noqa: TID251 - the clock that is moved


class Bend:
    def __init__(self, place: Path) -> None:
        self._place = place
        self.clock_s = 0.0
        self.repeats = False

    def read(self, *_: object) -> None:
        found = json.loads(self._place.read_text())
        self.clock_s, self.repeats = float(found["clock_s"]), bool(found["repeats"])

    def clock(self) -> float:
        return real() + self.clock_s


def repeat(bend: Bend) -> None:
    """Has the node's sessions say again what they said."""
    from littoral_node.link.session import NodeSession

    send, said, rng = NodeSession.send, deque[Any](maxlen=REMEMBERED), random.Random(1)

    def twice(self: NodeSession, message: Any) -> bool:
        if not send(self, message):
            return False
        said.append(message)
        return not bend.repeats or (send(self, message) and send(self, rng.choice(said)))

    NodeSession.send = twice  # type: ignore[method-assign]


def main() -> None:
    place, side, *arguments = sys.argv[1:]
    bend = Bend(Path(place))
    time.time = bend.clock  # noqa: TID251 - the one place that moves it
    signal.signal(signal.SIGUSR2, bend.read)
    sys.argv = [f"littoral-{side}", *arguments]
    if side == "node":
        repeat(bend)
        from littoral_node.cli import main as run_node

        run_node()
    else:
        from littoral_cloud.cli import main as run_cloud

        run_cloud()


if __name__ == "__main__":
    main()
