"""How many bytes of requests this node holds at one time, those that are still coming and those that are being answered."""

from __future__ import annotations

from littoral_node.serving.places import Busy

ROOM_BYTES = 32 * 1024 * 1024
FREE_BYTES = 64 * 1024
"""Of each request are not counted: the number of requests bounds them. A small one finds room beside any number of large ones."""
_MUCH_BYTES = 2 * 1024 * 1024
_LOOKS = 4


class Room:
    """One pool that all connections share."""

    def __init__(self, most: int = ROOM_BYTES) -> None:
        self.most = most
        self.taken = 0
        self._looks = 0

    def hold(self, size: int, held: int) -> int:
        """For one request that has come to `size` bytes, of which it holds `held` already.

        Returns: what it holds now, to be given back with `leave`. Raises Busy where there is no room.
        """
        wanted = size - FREE_BYTES
        if wanted <= held:
            return held
        if self.taken + wanted - held > self.most:
            raise Busy(f"body: {self.taken} bytes of requests are held, at most {self.most} are", hint="try again in a second")
        self.taken += wanted - held
        if self.taken > _MUCH_BYTES:
            self._looks = _LOOKS
        return wanted

    def leave(self, held: int) -> None:
        self.taken -= held

    def has_emptied(self) -> bool:
        """Whether much was held and is not any more, so that memory is worth giving back: a few times in a row, asked every
        second or so, for buffers of those who sent it go later."""
        if self._looks == 0 or self.taken > _MUCH_BYTES:
            return False
        self._looks -= 1
        return True
