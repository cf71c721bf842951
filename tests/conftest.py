"""Of every test: hypothesis counts examples, not milliseconds, which on a busy machine say nothing; torch has one thread, so that
a training ends with the same weights on one core and on sixty-four; `-n auto` is a worker for each core it may use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("littoral", deadline=None, print_blob=True)
settings.load_profile("littoral")

os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch

WORKER_BYTES = 2 * 2**30  # a worker with torch, and the processes that its test started
MOST_WORKERS = 8  # the longest tests decide then


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """0: on one core the tests run in pytest's own process."""
    from littoral_node.machine.hardware import profile

    machine = profile(Path(__file__).parent, {})
    workers = min(machine.cpu_millis // 1000, machine.memory_bytes // WORKER_BYTES, MOST_WORKERS)
    return workers if workers > 1 else 0
