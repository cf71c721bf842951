"""The run's worker process: one federated run, in a process of its own, from wherever it stands to its end.

    python -m littoral_cloud.federation.worker RUN_ID --data DIR [--fence TOKEN]

A process of its own because the identity of a Flower run is global to the process, and because the coordinator stays small:
this one holds torch and every reply of a round. It dies with the coordinator; the next one goes on from the last finished
round. Exit code 0: the run is over, well or not, and says so in the ledger. 75: try again. Anything else: a crash.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from littoral.errors import Conflict, FleetError, Unavailable
from littoral.process.limits import training_environment

if TYPE_CHECKING:
    from littoral_cloud.federation.run import Run
    from littoral_cloud.fleet.blobs import BlobStore
    from littoral_cloud.fleet.ledger import Fence, Ledger

TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h
LEASE = "federation"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m littoral_cloud.federation.worker")
    parser.add_argument("run_id")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fence", type=int)
    arguments = parser.parse_args()
    os.environ.update(training_environment({}, arguments.data / "flwr"))  # before anything imports torch or flwr
    try:
        asyncio.run(_work(arguments.run_id, arguments.data, arguments.fence))
    except (Unavailable, Conflict) as error:  # Redis is away, or the lease is: neither is the run's fault
        print(f"worker: {error.code}: {error}", file=sys.stderr)
        sys.exit(TRY_AGAIN)


async def _work(run_id: str, data: Path, token: int | None) -> None:
    import torch

    from littoral_cloud.app import open_core
    from littoral_cloud.federation.exchange import forget_run
    from littoral_cloud.federation.run import failed, read_run, succeeded, update_run
    from littoral_cloud.fleet.ledger import Audit, Fence
    from littoral_cloud.settings import load_settings

    torch.set_num_threads(1)
    fence = Fence(LEASE, token) if token is not None else None
    async with open_core(load_settings(data_dir=data)) as core:
        run = await read_run(core.ledger, run_id)
        if not run.state.terminal:
            try:
                await _rounds(core.ledger, core.blobs, run, fence)
            except (Unavailable, Conflict):
                raise
            except FleetError as error:
                traceback.print_exc()
                reason, detail = error.code, str(error)
                audit = Audit("run.failed", run_id, "federation", {"reason": reason, "detail": detail})
                await update_run(core.ledger, run_id, lambda r: failed(r, reason, detail, core.clock()), audit, fence=fence)
            else:
                done = await read_run(core.ledger, run_id)
                audit = Audit("run.succeeded", run_id, "federation", {"rounds": done.rounds, "weights": done.weights})
                await update_run(core.ledger, run_id, lambda r: succeeded(r, core.clock()), audit, fence=fence)
        await forget_run(core.ledger, run_id, fence)


async def _rounds(ledger: Ledger, blobs: BlobStore, run: Run, fence: Fence | None) -> None:
    from flwr.app import Array, ArrayRecord, Context, RecordDict

    from littoral.flower_private import SERVER_NODE, number_of
    from littoral_cloud.federation.grid import FleetGrid
    from littoral_cloud.federation.participants import following
    from littoral_cloud.federation.server_app import app
    from littoral_cloud.training.weights import arrays_from

    arrays = arrays_from(await asyncio.to_thread(blobs.read, run.weights), what=f"run {run.run_id}, {run.weights}")
    state = RecordDict({"arrays": ArrayRecord({name: Array(value) for name, value in arrays.items()})})
    context = Context(number_of(run.run_id), SERVER_NODE, {}, state, run_config_of(run))
    clock, loop = time.time, asyncio.get_running_loop()  # noqa: TID251 - composition root
    async with following(ledger, clock) as participants:
        grid = FleetGrid(ledger, blobs, run, fence=fence, participants=participants, clock=clock, loop=loop)
        await asyncio.to_thread(app, grid, context)


def run_config_of(run: Run) -> dict[str, bool | float | int | str]:
    """What our ServerApp reads; `flwr run` takes the same names from [tool.flwr.app.config]."""
    return {
        "model": run.model,
        "architecture": json.dumps(dict(run.architecture), sort_keys=True),
        "input": json.dumps(dict(run.input), sort_keys=True),
        "classes": run.classes,
        "rounds": run.rounds,
        "first-round": run.done + 1,
        "local-epochs": run.local_epochs,
        "learning-rate": run.learning_rate,
        "batch-size": run.batch_size,
        "seed": run.seed,
        "calibration": run.calibration,
        "freeze-head": run.freeze_head,
        "strategy": run.strategy,
        "fraction-train": run.fraction,
        "fraction-evaluate": 0.0,
        "min-nodes": run.min_nodes,
        "round-timeout": run.round_timeout_s,
    }


if __name__ == "__main__":
    main()
