"""What the cloud and the node must agree on. Each module here is used by both sides, and only such modules live here."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""Nothing phones home: since 1.32 onnxruntime puts a device id into the user's home and sends what it counts to its maker. It
reads this when it is first imported, here and in every child; who wants it otherwise sets it to 0."""

__version__ = "0.1.0"
"""Of the distribution, as in pyproject.toml (a test compares them): importlib.metadata would cost an agent 3 MB."""

PROTOCOL_VERSION = 1
"""Protocol of littoral/fleet/v1 that this code speaks; a session with another one is refused with a reason."""
