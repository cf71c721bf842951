"""Limits the memory for request bodies on this node: those that still arrive, and those that are being answered."""

from __future__ import annotations

from littoral_node.serving.concurrency import TooManyRequests

MAX_BYTES = 32 * 1024 * 1024
UNCOUNTED_BYTES = 64 * 1024
"""Of each request are not counted, because the number of requests bounds them. So a small request needs no free memory here."""
_MUCH_BYTES = 2 * 1024 * 1024
_LOOKS = 4


class BodyMemory:
    """One pool for all connections."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self.limit = limit
        self.taken = 0
        self._looks = 0

    def reserve(self, size: int, reserved: int) -> int:
        """For one request of which `size` bytes have arrived and `reserved` bytes are reserved.

        Returns: what is reserved now, for `release`. Raises TooManyRequests where there is not enough.
        """
        needed = size - UNCOUNTED_BYTES
        if needed <= reserved:
            return reserved
        if self.taken + needed - reserved > self.limit:
            raise TooManyRequests(
                f"body: requests take {self.taken} bytes of memory, at most {self.limit}", hint="try again in a second"
            )
        self.taken += needed - reserved
        if self.taken > _MUCH_BYTES:
            self._looks = _LOOKS
        return needed

    def release(self, reserved: int) -> None:
        self.taken -= reserved

    def has_emptied(self) -> bool:
        """Whether much memory was taken and is free again, so that it is worth giving back to the system. True a few times in a
        row, because the senders' buffers are freed later; the server asks every second or so."""
        if self._looks == 0 or self.taken > _MUCH_BYTES:
            return False
        self._looks -= 1
        return True
