"""What the cloud and the node must agree on. Each module here is used by both sides, and only such modules live here."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("littoral")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

PROTOCOL_VERSION = 1
"""Protocol of littoral/fleet/v1 that this code speaks; a session with another one is refused with a reason."""
