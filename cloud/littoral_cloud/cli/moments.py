"""A time of day from the command line."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from littoral.errors import BadInput

HINT = "for example 22:00, or 2026-12-31T22:00+01:00; without an offset it is this machine's time"
LONGEST_S = 366 * 86_400.0


def parse_moment(text: str, field: str, now: float) -> float:
    """Seconds since 1970-01-01 UTC, of "2026-12-31T22:00", with or without an offset, or of "22:00": the next one.

    Raises BadInput where it is no time, lies in the past, or more than a year ahead.
    """
    try:
        here = datetime.fromtimestamp(now).astimezone()
        if re.fullmatch(r"[0-9]{2}:[0-9]{2}", text):
            wanted = datetime.combine(here.date(), datetime.strptime(text, "%H:%M").time())
            moment = wanted if wanted.timestamp() > now else wanted + timedelta(days=1)
        else:
            moment = datetime.fromisoformat(text)
        found = moment.timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise BadInput(f"{field}: {text!r} is not a time", hint=HINT) from error
    if not now <= found <= now + LONGEST_S:
        raise BadInput(f"{field}: {text!r} is {'in the past' if found < now else 'more than a year ahead'}", hint=HINT)
    return found
