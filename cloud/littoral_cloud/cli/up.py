"""littoral-cloud up: a coordinator and one node on this machine, serving the newest releases until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from littoral.streams import unheard
from littoral.text import printable
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit, emit_line

if TYPE_CHECKING:
    from littoral_cloud.local.up import Place, Up

app = typer.Typer(help="A coordinator and one node on this machine, serving your newest releases.", rich_markup_mode=None)


@app.callback(invoke_without_command=True, epilog="Example: littoral-cloud up --http 127.0.0.1:8080")
def up(
    http: Annotated[str, typer.Option(help="Where inference is served, HOST:PORT; port 0: any free one.")] = "127.0.0.1:8080",
    node: Annotated[Path | None, typer.Option(help="The node's folder; unset: DATA_DIR/node.")] = None,
    budget: Annotated[str | None, typer.Option(help="What one model may cost, like artifact<=100KB,p95<=2ms.")] = None,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Serves until Ctrl-C or SIGTERM; everything on loopback, with TLS, identities and signatures as in a fleet.

    What `littoral-cloud train` released is measured on this machine; the most accurate student inside the budget is served.
    """
    from littoral.budget import Budget
    from littoral.transport import split_address
    from littoral_cloud.local.up import Place
    from littoral_cloud.settings import load_settings

    if budget is not None:
        Budget.parse(budget)
    split_address(http, "--http")
    settings = load_settings(data_dir=data_dir)
    folder = (node or settings.data_dir / "node").absolute()
    asyncio.run(_until_signalled(Place(settings, folder, http, budget), format))


async def _until_signalled(place: Place, format: Format) -> None:
    from littoral_cloud.local.up import up as run

    stop = asyncio.Event()
    running = asyncio.current_task()
    assert running is not None
    serving = False

    def told() -> None:
        """Before it serves there is nothing to drain: what was begun is undone."""
        stop.set()
        if not serving:
            running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told)

    def ready(found: Up) -> None:
        nonlocal serving
        serving = True
        with unheard():
            if format is Format.JSON:
                emit_line({"event": "ready", **asdict(found)})
                return
            for model, student in found.models.items():
                emit(f"ready {found.url}/v2/models/{model} serves {student}")
            for model in list(found.ask)[:1]:
                print(f"\nAsk it ({model}):\n\n{found.ask[model]}", flush=True)

    try:
        await run(place, lambda words: print(printable(words), file=sys.stderr, flush=True), ready, stop)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
