"""littoral-node that appends each move of its updates to the file TRAIL_TO, a JSON line each: the update before, the event, the
state after, the effects. With CRASH_AT it is killed there, see crashing_agent.py."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import littoral_node.update.updater as updater
from littoral.decoder import plain
from littoral_node.cli import main
from littoral_node.update.events import UpdateEffect, UpdateEvent
from littoral_node.update.state import Update
from littoral_node.update.steps import STEPS
from tests.kit.crashing_agent import crashing

decide = updater.step


def step(update: Update, event: UpdateEvent, now: float) -> tuple[Update, tuple[UpdateEffect, ...]]:
    after, effects = decide(update, event, now)
    body: dict[str, Any] = {
        "before": {**plain(update), "deadline": 0.0},
        "event": type(event).__name__,
        "fields": plain(event),
        "state": str(after.state),
        "effects": [[type(effect).__name__, plain(effect)] for effect in effects],
    }
    with Path(os.environ["TRAIL_TO"]).open("a") as file:
        file.write(json.dumps(body, sort_keys=True) + "\n")
    return after, effects


if __name__ == "__main__":
    updater.step = step
    moment, _, name = os.environ.get("CRASH_AT", "").partition(":")
    if moment:
        STEPS[name] = crashing(STEPS[name], before=moment == "before")
    main()
