"""Whether this machine's network is metered, as NetworkManager knows or guesses it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from littoral_node.machine.conditions import yes_or_no

_ANSWER_S = 5.0


def default_interface(routes: str) -> str:
    """The interface of the default route with the lowest metric, from /proc/net/route; empty where there is none."""
    found = []
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 8 and fields[1] == "00000000" and fields[7] == "00000000" and fields[6].isdecimal():
            found.append((int(fields[6]), fields[0]))
    return min(found)[1] if found else ""


async def asked(root: Path) -> bool | None:
    """None where there is no NetworkManager, or it does not know. Of a `root` that is not this machine's: None."""
    nmcli = shutil.which("nmcli")
    if root != Path("/") or nmcli is None:
        return None
    try:
        interface = default_interface(Path("/proc/net/route").read_text())
    except OSError:
        return None
    if not interface:
        return None
    return await _answer(nmcli, interface)


async def _answer(nmcli: str, interface: str) -> bool | None:
    try:
        process = await asyncio.create_subprocess_exec(
            *(nmcli, "-g", "GENERAL.METERED", "device", "show", interface),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(_ANSWER_S):
            answer, _ = await process.communicate()
    except (TimeoutError, asyncio.CancelledError) as ended:
        process.kill()
        await process.wait()
        if isinstance(ended, asyncio.CancelledError):
            raise
        return None
    return yes_or_no(answer.decode(errors="replace"))
