"""littoral-cloud up: runs a coordinator and one node on this machine, which serve the newest releases."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from littoral.streams import unheard
from littoral_cloud.cli.noun import noun
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit, emit_line, notice

if TYPE_CHECKING:
    from littoral_cloud.local.up import LocalFleet, Up

app = noun("Serve your newest releases on this machine, by a coordinator and one node.")


@app.command(epilog="Example: littoral-cloud up --http 127.0.0.1:8080")
def up(
    http: Annotated[str, typer.Option(help="The address for inference, HOST:PORT; port 0: any free port.")] = "127.0.0.1:8080",
    node: Annotated[Path | None, typer.Option(help="The node's data folder. Default: DATA_DIR/node.")] = None,
    budget: Annotated[str | None, typer.Option(help="The limits of one model, like artifact<=100KB,p95<=2ms.")] = None,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Serve until Ctrl-C or SIGTERM, on loopback, with TLS, identities and signatures as in a fleet.

    Measures the releases of `littoral-cloud train` here, and serves the most accurate student inside the budget.
    """
    from littoral.budget import Budget
    from littoral.transport import split_address
    from littoral_cloud.local.up import LocalFleet
    from littoral_cloud.settings import load_settings

    if budget is not None:
        Budget.parse(budget)
    split_address(http, "--http")
    settings = load_settings(data_dir=data_dir)
    folder = (node or settings.data_dir / "node").absolute()
    asyncio.run(_until_signalled(LocalFleet(settings, folder, http, budget), format))


async def _until_signalled(place: LocalFleet, format: Format) -> None:
    from littoral_cloud.local.up import up as run

    stop = asyncio.Event()
    running = asyncio.current_task()
    assert running is not None
    serving = False

    def on_signal() -> None:
        """Cancels the start; once it serves, drains."""
        stop.set()
        if not serving:
            running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)

    def ready(found: Up) -> None:
        nonlocal serving
        serving = True
        with unheard():
            if format is Format.JSON:
                emit_line({"event": "ready", **asdict(found)})
                return
            for model, student in found.models.items():
                emit(f"ready {found.url}/v2/models/{model} serves {student}")
            emit(f"page {found.page}")
            for model in list(found.ask)[:1]:
                print(f"\nAsk it ({model}):\n\n{found.ask[model]}", flush=True)

    try:
        await run(place, notice, ready, stop)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
