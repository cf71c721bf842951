"""libfaketime, where it is at hand: `pip install libfaketime`, which compiles it, or the package of the distribution."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path

SYSTEM = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1")


@functools.cache
def faketime() -> dict[str, str] | None:
    """The environment under which a process lives in another time and can still sleep; None where there is none.

    Of its builds one sleeps where the monotonic clock is left alone, and another one only where it is not.
    """
    libraries = [place for place in SYSTEM if Path(place).exists()]
    if (found := importlib.util.find_spec("libfaketime")) is not None and found.submodule_search_locations:
        libraries.append(str(Path(next(iter(found.submodule_search_locations))) / "vendor/libfaketime/src/libfaketime.so.1"))
    for library, monotonic in itertools.product(libraries, ({}, {"DONT_FAKE_MONOTONIC": "1"})):
        chosen = {"LD_PRELOAD": library, "FAKETIME_NO_CACHE": "1", **monotonic}
        sleeps = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(0.01); print(time.time() > 4e9)")
        try:
            environment = {**os.environ, **chosen, "FAKETIME": "+40000d"}
            ended = subprocess.run(sleeps, env=environment, capture_output=True, timeout=5, check=False)
        except subprocess.TimeoutExpired:
            continue
        if ended.stdout.strip() == b"True":
            return chosen
    return None


def shifted(days: float) -> dict[str, str]:
    """The environment of a process that lives so many days from now."""
    return {**(faketime() or {}), "FAKETIME": f"{days:+g}d"}
