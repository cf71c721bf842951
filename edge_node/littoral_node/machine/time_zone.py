"""The time zone that this machine is set to."""

from __future__ import annotations

import os
from pathlib import Path

from littoral.errors import BadInput
from littoral.maintenance import check_zone_name
from littoral_node.machine.conditions import text

UTC = "UTC"


def time_zone(root: Path, setting: str = "") -> str:
    """Its name in the IANA time zone database; UTC where the machine does not say, or says what is no such name.

    Args:
        root: below which the machine's files lie.
        setting: in place of what the machine says; "": none.
    """
    for name in (
        setting,
        os.environ.get("TZ", "").removeprefix(":"),
        _linked(root / "etc/localtime"),
        text(root / "etc/timezone"),
    ):
        try:
            if name:
                return check_zone_name(name, "time zone")
        except BadInput:
            continue
    return UTC


def _linked(path: Path) -> str:
    """Of /etc/localtime -> ../usr/share/zoneinfo/Europe/Berlin. Empty: it is no such link."""
    try:
        target = os.readlink(path)
    except OSError:
        return ""
    return target.partition("zoneinfo/")[2]
