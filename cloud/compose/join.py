#!/usr/bin/env python
"""Keep a join line for this project's nodes in the volume that they share with this service, and end.

Where the line that is there can still be used, nothing is done; else a token is made. It is handed over by rename: a node reads
the old line or the new one, never half of one. Only the nodes' group may read it.

Environment: JOIN_FILE, JOIN_USES (nodes), JOIN_TTL (as `littoral-cloud token create --ttl`), JOIN_LEAST_S (a line with less time
left than this is replaced).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from littoral.errors import BadInput
from littoral.identity import JoinLine

LINE = Path(os.environ.get("JOIN_FILE", "/run/littoral-join/line"))
USES = os.environ.get("JOIN_USES", "100")
TTL = os.environ.get("JOIN_TTL", "24h")
LEAST_S = int(os.environ.get("JOIN_LEAST_S", "3600"))


def cloud(*arguments: str) -> str:
    """What a littoral-cloud command prints. Raises CalledProcessError; its words have gone to standard error."""
    return subprocess.run(["littoral-cloud", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def uses_left(now: float) -> int:
    """Of the line that is there; 0 where there is none, or it is old, spent, revoked or of another fleet."""
    try:
        line = JoinLine.parse(LINE.read_text())
    except (FileNotFoundError, BadInput):
        return 0
    if line.expires_at - now < LEAST_S:
        return 0
    wanted = hashlib.sha256(line.token.encode()).hexdigest()
    tokens = json.loads(cloud("token", "list", "--format", "json"))
    return next((token["uses_left"] for token in tokens if token["id"] == wanted and token["state"] == "usable"), 0)


def main() -> None:
    if (left := uses_left(time.time())) > 0:  # noqa: TID251 - a command; the clock comes in here
        print(f"join: {LINE} serves another {left} nodes")
        return
    made = cloud("token", "create", "--name", "compose", "--uses", USES, "--ttl", TTL)
    draft = LINE.with_name(f".{LINE.name}.part")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440), "w") as file:
        file.write(made)
    draft.replace(LINE)
    print(f"join: made {LINE} for {USES} nodes, good for {TTL}")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
