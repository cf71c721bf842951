"""Whether this coordinator may be sent work, part by part.

    redis         a write is answered within CHECK_S, by as many replicas as the settings ask for
    view          everything was read once, and what changed is in the view within LAG_MOST_S
    disk          the data folder, and the folder of blobs, have LEAST_FREE_BYTES free
    certificate   the certificate that the listeners show, and the CA's, are valid now
    draining      it was not asked to end

Rules, in order:

1. The parts are looked at every LOOK_S, and every AGAIN_S while one is not ready. Who asks gets what was seen last, so that
   asking costs nothing, however often.
2. What was seen longer than STALE_S ago does not count: the loop that looks is stuck, so the coordinator is not ready.
3. A reason names no address and no path: /readyz answers without authentication. The log has the whole error.

Example: Redis has been away for 4 s. /readyz answers 503, and names the part redis: "no answer within 3 s". The fleet's sessions
stay open meanwhile: `healthz` says that the process lives, so nothing restarts it.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from littoral.errors import FleetError

log = logging.getLogger(__name__)

LOOK_S = 5.0
AGAIN_S = 1.0
STALE_S = 20.0
CHECK_S = 3.0
LAG_MOST_S = 15.0
LEAST_FREE_BYTES = 128 * 1024 * 1024
_DAY_S = 86_400.0
NOT_LOOKED, READING = STARTING = "not looked at yet", "the fleet is being read"


@dataclass(frozen=True, slots=True)
class PartState:
    """`why`: why it is not ready; "": it is."""

    part: str
    why: str = ""

    @property
    def ready(self) -> bool:
        return not self.why


@dataclass(frozen=True, slots=True)
class Validity:
    """Of a certificate; seconds since 1970-01-01 UTC."""

    name: str
    begins_at: float
    expires_at: float


class ViewLag(Protocol):
    """The view of the fleet, as far as it is looked at here."""

    @property
    def is_read(self) -> bool: ...
    @property
    def behind_s(self) -> float: ...


class Writable(Protocol):
    """The ledger, likewise."""

    async def check_writable(self) -> None: ...


class Readiness:
    """Args:
    folders: by the name that a reason gives them.
    clock: seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        ledger: Writable,
        view: ViewLag,
        folders: Mapping[str, Path],
        certificates: Callable[[], tuple[Validity, ...]],
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._view = view
        self._folders = folders
        self._certificates = certificates
        self._clock = clock
        self._seen: tuple[PartState, ...] = tuple(PartState(part, NOT_LOOKED) for part in PARTS)
        self._seen_at: float | None = None  # by the event loop's clock
        self.draining = False
        self.version = 0
        """Grows with each change of a part."""
        self._changed = asyncio.Event()

    @property
    def parts(self) -> tuple[PartState, ...]:
        """As they were seen last."""
        own = PartState("draining", "it was asked to end" if self.draining else "")
        if self._seen_at is not None and (age := asyncio.get_running_loop().time() - self._seen_at) > STALE_S:
            return (*(PartState(each.part, f"last looked at {age:.0f} s ago") for each in self._seen), own)
        return (*self._seen, own)

    @property
    def ready(self) -> bool:
        return all(part.ready for part in self.parts)

    def drain(self) -> None:
        """From here on it is not ready."""
        self.draining = True
        self._tell()

    async def later_than(self, version: int) -> None:
        """Returns when the version is another."""
        while self.version == version:
            await self._changed.wait()

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S if self.ready else AGAIN_S)

    async def look(self) -> None:
        free = await asyncio.gather(*(free_bytes(path) for path in self._folders.values()))
        seen = (
            PartState("redis", await _redis(self._ledger)),
            PartState("view", view_part(self._view.is_read, self._view.behind_s)),
            PartState("disk", disk_part(dict(zip(self._folders, free, strict=True)))),
            PartState("certificate", certificate_part(self._certificates(), self._clock())),
        )
        before, self._seen, self._seen_at = self._seen, seen, asyncio.get_running_loop().time()
        for was, part in zip(before, seen, strict=True):
            if part.ready != was.ready if was.why not in STARTING else part.why not in ("", *STARTING):
                (log.info if part.ready else log.warning)("ready: %s: %s", part.part, part.why or "ready again")
        if before != seen:
            self._tell()

    def _tell(self) -> None:
        self.version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


PARTS = ("redis", "view", "disk", "certificate")


async def _redis(ledger: Writable) -> str:
    try:
        async with asyncio.timeout(CHECK_S):
            await ledger.check_writable()
    except TimeoutError:
        return f"no answer within {CHECK_S:g} s"
    except FleetError as error:
        log.debug("ready: redis: %s", error)
        return f"a write fails: {error.code}"
    return ""


async def free_bytes(path: Path) -> int | None:
    """Of the file system of a folder; None: it cannot be asked."""
    try:
        return (await asyncio.to_thread(shutil.disk_usage, path)).free
    except OSError as error:
        log.debug("ready: %s: %s", path, error)
        return None


def view_part(is_read: bool, lag_s: float) -> str:
    """Why the view is not ready; "": it is. Pure, as the two below."""
    if not is_read:
        return READING
    return f"{lag_s:.1f} s behind, {LAG_MOST_S:g} s are the most" if lag_s > LAG_MOST_S else ""


def disk_part(free: Mapping[str, int | None]) -> str:
    """Args:
    free: bytes by the name of a folder; None: it cannot be asked.
    """
    for name, count in free.items():
        if count is None:
            return f"{name}: cannot be asked"
        if count < LEAST_FREE_BYTES:
            return f"{name}: {count / 2**20:.0f} MiB free, {LEAST_FREE_BYTES / 2**20:.0f} MiB are the least"
    return ""


def certificate_part(certificates: tuple[Validity, ...], now: float) -> str:
    for each in certificates:
        if now >= each.expires_at:
            return f"{each.name}: ended {(now - each.expires_at) / _DAY_S:.1f} days ago"
        if now < each.begins_at:
            return f"{each.name}: begins in {(each.begins_at - now) / _DAY_S:.1f} days: is this machine's clock right?"
    return ""
