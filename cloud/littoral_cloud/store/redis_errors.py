"""Errors of Redis in our words, and which of them pass."""

from __future__ import annotations

import re

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from littoral.errors import BadInput, FleetError, NoSpace

# Redis answers these while it starts, fails over or is busy with a script: the same call may succeed a little later.
_PASSING = frozenset(("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS"))
_REFUSED = frozenset(("NOAUTH", "WRONGPASS", "NOPERM"))


def passes(error: Exception) -> bool:
    """Whether the same call may succeed a little later."""
    if _code(error) in _REFUSED:
        return False
    return isinstance(error, RedisConnectionError | RedisTimeoutError | OSError) or _code(error) in _PASSING


# For the errors from which redis-py removes the code.
_CODES: dict[type[Exception], str] = {
    AuthenticationError: "WRONGPASS",
    AuthorizationError: "NOPERM",
    NoPermissionError: "NOPERM",
    BusyLoadingError: "LOADING",
    ReadOnlyError: "READONLY",
    MasterDownError: "MASTERDOWN",
    ClusterDownError: "CLUSTERDOWN",
    TryAgainError: "TRYAGAIN",
    OutOfMemoryError: "OOM",
}
_CODE = re.compile(r"(?:^|: -)([A-Z]{3,})\b")  # behind ": -" where the error happened inside a script, before Redis 7


def _code(error: BaseException) -> str:
    """The code at the start of a Redis error; "" where there is none."""
    for known in (error, error.__cause__):  # a refused password comes wrapped in a connection error
        for kind, code in _CODES.items():
            if isinstance(known, kind):
                return code
    match = _CODE.search(str(error)) if isinstance(error, ResponseError) else None
    return match[1] if match else ""


def translated(error: Exception, endpoint: object) -> FleetError:
    """The error as a FleetError: what happened, and what to do."""
    code = _code(error)
    if code in _REFUSED:
        return BadInput(f"redis: {endpoint} refuses us: {error}", hint="set LITTORAL_REDIS_PASSWORD_FILE")
    if code == "MISCONF":
        return NoSpace(f"redis: {endpoint} cannot write to its disk: {error}", hint="free space there; nothing was written")
    if code == "OOM":
        return NoSpace(f"redis: {endpoint} is over its maxmemory: {error}", hint="raise maxmemory; nothing was written")
    return FleetError(f"redis: {endpoint}: {error}")
