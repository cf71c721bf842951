"""littoral-cloud demo: runs the whole loop on this machine."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from littoral.errors import BadInput, FleetError, unwritten
from littoral_cloud.cli.noun import noun
from littoral_cloud.terminal.output import Format, emit

if TYPE_CHECKING:
    from littoral_cloud.demo.report import Report

app = noun("Run the whole loop on this machine: real MNIST, real processes, four nodes.")


class DemoFailed(FleetError):
    """The demo ran to its end and broke one of its promises."""

    code = "demo-failed"
    exit_code = 10


@app.command(epilog="Example: littoral-cloud demo --out out/demo")
def demo(
    out: Annotated[Path, typer.Option(help="The folder for all files of the demo; emptied first.")] = Path("out/demo"),
    data: Annotated[Path | None, typer.Option(help="Your own images instead of MNIST, as for train.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Two nodes, no drift, no federated rounds; about 90 s.")] = False,
    stay: Annotated[bool, typer.Option("--stay", help="Then leave everything running until Ctrl-C.")] = False,
    format: Annotated[Format, typer.Option(help="Output format of the result.")] = Format.TABLE,
) -> None:
    """Train a teacher and students, roll them out, drift, learn in federated rounds, stop a bad release. About three minutes.

    With --data the demo skips the checks of MNIST's figures, and lists them.
    """
    from littoral_cloud.demo.demo import run_demo
    from littoral_cloud.demo.settings import mnist, own
    from littoral_cloud.demo.terminal import Terminal

    chosen = mnist(quick=quick) if data is None else own(data, quick=quick)
    _clear(out)
    terminal = Terminal(time.monotonic)

    async def until_signalled() -> None:
        running = asyncio.current_task()
        assert running is not None
        enough = asyncio.Event()
        staying = False

        def on_signal() -> None:
            if staying:
                enough.set()
            else:
                running.cancel()

        def answer(report: Report, broken: Mapping[str, str]) -> None:
            terminal.summary(report, broken, answer=format is Format.TABLE)
            if format is Format.JSON:
                emit(report, format)

        async def until_enough(report: Report, broken: Mapping[str, str]) -> None:
            nonlocal staying
            staying = True
            answer(report, broken)
            await enough.wait()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
        waits = until_enough if stay else None
        report, broken = await run_demo(out, chosen, time.time, time.monotonic, terminal, waits)  # noqa: TID251 - the root's clock
        if not stay:
            answer(report, broken)
        if broken:
            raise DemoFailed("; ".join(broken.values()), hint=f"logs are in {out / 'logs'}, figures in {out / 'report.json'}")

    try:
        asyncio.run(until_signalled())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _clear(out: Path) -> None:
    """Empties the folder of an earlier demo. Raises BadInput where it holds other files, or cannot be written."""
    if out.exists():
        if not out.is_dir() or (any(out.iterdir()) and not (out / MARK).is_file()):
            raise BadInput(f"out: {out} holds files that are not a demo's", hint="name an empty or a new folder")
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True)
        (out / MARK).touch()
    except OSError as error:
        raise unwritten(f"out: {out}", error, hint="name another folder with --out") from error


MARK = ".littoral-demo"
