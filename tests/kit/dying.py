"""python -m tests.kit.dying --parent PID SIGNAL: ends by that signal; 0: waits until it is ended."""

from __future__ import annotations

import os
import signal
import sys

number = int(sys.argv[-1])
if number:
    os.kill(os.getpid(), number)
signal.pause()
