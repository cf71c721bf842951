"""What the cloud and the node must agree on. Each module here is used by both sides, and only such modules live here."""

__version__ = "0.1.0"
"""Of the distribution, as in pyproject.toml (a test compares them): importlib.metadata would cost an agent 3 MB."""

PROTOCOL_VERSION = 1
"""Protocol of littoral/fleet/v1 that this code speaks; a session with another one is refused with a reason."""
