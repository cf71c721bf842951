"""littoral-node, but the kernel ends it at a named moment, as kill -9 would: CRASH_AT=before:STEP or after:STEP."""

from __future__ import annotations

import os
import signal

from littoral_node.cli import main
from littoral_node.update.events import UpdateEvent
from littoral_node.update.job import Job, Step
from littoral_node.update.steps import STEPS


def crashing(step: Step, *, before: bool) -> Step:
    async def run(job: Job) -> UpdateEvent:
        if not before:
            await step(job)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("SIGKILL does not return")

    return run


if __name__ == "__main__":
    moment, _, name = os.environ["CRASH_AT"].partition(":")
    STEPS[name] = crashing(STEPS[name], before=moment == "before")
    main()
