"""What time it is, on a machine whose clock may lie: one without a battery boots in 1970, and one that was set wrongly is ahead.

Rules, in order:

1. Until a coordinator has been heard in this run, it is the largest of: the machine's clock; the last good time on the disk, and
   what has passed since the start; the beginning of the node's own certificate.
2. Once a coordinator has signed its time for this node's nonce (littoral.signed_time), it is that, and what has passed since,
   also where the machine's clock is ahead.
3. The last good time on the disk is always one that a coordinator signed, and what had passed since. So a clock that was ahead
   once leaves nothing behind.

What has passed is counted by a clock that is never set, and goes on while the machine sleeps. Nothing here stops inference.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from littoral.errors import FleetError, Untrusted
from littoral.signed_time import NONCE_BYTES, answered_time
from littoral_node.identity.files import Damaged, ignore_damage, put_aside, read_record, write_record

TOLERANCE_S = 300.0
"""A clock that is further away is wrong: certificates are compared with what this class says, and operators hear of it."""
KEEP_S = 3600.0
"""Between two writes of the good time."""


@dataclass(frozen=True, slots=True)
class GoodTime:
    """clock.json. `at`: seconds since 1970-01-01 UTC."""

    at: float = 0.0


def since_boot() -> float:
    """Seconds, those asleep included where the system counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class NodeClock:
    """Args:
    path: of clock.json.
    clock: the machine's; seconds since 1970-01-01 UTC.
    monotonic: seconds.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float],
        log: Callable[..., None],
        monotonic: Callable[[], float] = since_boot,
        damaged: Damaged = ignore_damage,
    ) -> None:
        self._path = path
        self._clock = clock
        self._monotonic = monotonic
        self._log = log
        self._started = monotonic()
        self._least = 0.0  # that it was when this run started
        self._signed: float | None = None  # that it was then, by a coordinator
        self._nonce = b""
        self._kept_at = float("-inf")
        self._logged = False
        try:
            self._least = (read_record(GoodTime, path) or GoodTime()).at
        except (FleetError, OSError) as error:
            damaged(path, error)
            put_aside(path)

    def __call__(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        passed = self._monotonic() - self._started
        if self._signed is not None:
            return self._signed + passed
        return max(self._clock(), self._least + passed)

    @property
    def is_signed(self) -> bool:
        """Whether a coordinator has been heard in this run."""
        return self._signed is not None

    @property
    def ahead_s(self) -> float:
        """Seconds that the machine's clock is ahead of this one; negative: it is behind."""
        return self._clock() - self()

    @property
    def is_wrong(self) -> bool:
        """Whether the machine's clock is."""
        return abs(self.ahead_s) > TOLERANCE_S

    def not_before(self, at: float) -> None:
        """It is at least this time: something that the fleet has signed begins then."""
        self._least = max(self._least, at - (self._monotonic() - self._started))

    def nonce(self) -> bytes:
        """A new one, for the next question."""
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        return self._nonce

    def answered(self, envelope: bytes, trusted: Mapping[str, bytes]) -> None:
        """Takes a coordinator's time over, where it answers the last nonce. Raises Untrusted."""
        nonce, self._nonce = self._nonce, b""
        if not nonce:
            raise Untrusted("signed time: nothing was asked")
        self.signed(answered_time(envelope, nonce, trusted))

    def signed(self, at: float) -> None:
        """Takes over what was checked."""
        self._signed = at - (self._monotonic() - self._started)
        if self.is_wrong and not self._logged:
            self._log("clock-wrong", detail=self.problem())
        self._logged = self.is_wrong
        self.keep()

    def keep(self) -> None:
        """Writes the good time, where there is one and the last write was a while ago."""
        now = self._monotonic()
        if self._signed is None or now - self._kept_at < KEEP_S:
            return
        self._kept_at = now
        try:
            write_record(self._path, GoodTime(self()))
        except OSError as error:
            self._log("not-written", file=self._path.name, detail=str(error))

    def problem(self) -> str:
        """In words, for health and operators; empty: the machine's clock is right, as far as is known."""
        if not self.is_wrong:
            return ""
        days, source = abs(self.ahead_s) / 86_400, "the coordinator's" if self.is_signed else "the last good time"
        span = f"{days:.1f} days" if days >= 1 else f"{abs(self.ahead_s) / 60:.0f} minutes"
        return f"this machine's clock is {span} {'ahead of' if self.ahead_s > 0 else 'behind'} {source}: set it (NTP)"
