"""The steps of an update by name, in their order. Each may be done again at any time with the same outcome."""

from __future__ import annotations

from littoral_node.update import adopt, download, load, reserve, shadow, swap, turn, verify, watch
from littoral_node.update.job import Step

STEPS: dict[str, Step] = {
    "turn": turn.run,
    "reserve": reserve.run,
    "download": download.run,
    "verify": verify.run,
    "load": load.run,
    "shadow": shadow.run,
    "swap": swap.run,
    "watch": watch.run,
    "adopt": adopt.run,
}
