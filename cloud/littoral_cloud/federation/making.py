"""A release of what a run learnt, made in a child process: the coordinator's own imports no torch. The child goes with this
process, also by kill -9; a run has one release, so that making it again does no harm."""

from __future__ import annotations

import json
from dataclasses import dataclass

from littoral.errors import error_of
from littoral.process.command import run_to_end
from littoral.process.limits import command_of
from littoral_cloud.app import Core
from littoral_cloud.federation.evaluation import WorseThanBase
from littoral_cloud.fleet.records import Release
from littoral_cloud.releases.catalogue import read_release

LOG = "making.log"
FOUND = (WorseThanBase,)
"""Errors that the child alone raises: `error_of` knows the classes that were imported."""


@dataclass(frozen=True, slots=True)
class MadeRelease:
    """`notes`: what a node refuses, or what was not tried on one."""

    release: Release
    notes: tuple[str, ...]


async def make_release(core: Core, run_id: str, *, actor: str, worse_too: bool) -> MadeRelease:
    """Raises CommandFailed where the child died, and what `release_run` raises, like WorseThanBase."""
    worse = ("--worse-too",) if worse_too else ()
    command = (*command_of("littoral_cloud.federation.making_child"), run_id, "--actor", actor, *worse)
    environment = {"LITTORAL_DATA_DIR": str(core.settings.data_dir)}
    log = core.settings.data_dir / "federation" / LOG
    printed = json.loads(await run_to_end(f"release of run {run_id}", command, log, environment))
    if (error := printed.get("error")) is not None:
        raise error_of(error["code"], error["message"], error["hint"])
    return MadeRelease(await read_release(core.ledger, printed["release"]), tuple(printed["notes"]))
