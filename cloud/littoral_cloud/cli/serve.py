"""littoral-cloud serve: the coordinator."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from littoral.one_arena import use_one_arena
from littoral.streams import unheard
from littoral_cloud.api.collecting import collect_rarely
from littoral_cloud.api.open_files import raise_limit
from littoral_cloud.cli.noun import noun
from littoral_cloud.logs.lines import write_lines_as
from littoral_cloud.settings import CloudSettings, load_settings, to_environment
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit, emit_line

if TYPE_CHECKING:
    from littoral_cloud.local.discovery import Serving

app = noun("Run the coordinator: enrolment, sessions, rollouts, federated runs.")

EXAMPLE = "Example: littoral-cloud serve --host 0.0.0.0 --public-name cloud.example.org --auto-loop"


@app.command(epilog=EXAMPLE)
def serve(
    data_dir: DataDirOption = None,
    redis_url: Annotated[
        str | None,
        typer.Option(help="redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://. Default: the embedded one."),
    ] = None,
    redis_password_file: Annotated[Path | None, typer.Option(help="The file with the password for --redis-url.")] = None,
    host: Annotated[str | None, typer.Option(help="The address of both listeners for nodes. Default: 127.0.0.1.")] = None,
    enrolment_port: Annotated[
        int | None, typer.Option(help="The port for enrolment, with server TLS; 0: any free port. Default: 7443.")
    ] = None,
    fleet_port: Annotated[
        int | None, typer.Option(help="The port for nodes, with mutual TLS; 0: any free port. Default: 7444.")
    ] = None,
    api_host: Annotated[
        str | None, typer.Option(help="The address of the operator API and its page. Default: 127.0.0.1.")
    ] = None,
    api_port: Annotated[
        int | None, typer.Option(help="The port for operators, with server TLS; 0: any free port. Default: 7445.")
    ] = None,
    public_name: Annotated[
        list[str] | None, typer.Option(help="A DNS name or address of this server, for nodes (repeatable).")
    ] = None,
    heartbeat_interval: Annotated[
        float | None, typer.Option(help="Seconds between the heartbeats of a session. Default: 10.")
    ] = None,
    telemetry_interval: Annotated[
        float | None, typer.Option(help="Seconds between a node's telemetry reports. Default: 10.")
    ] = None,
    telemetry_flush: Annotated[
        float | None, typer.Option(help="Seconds for which reports are added up before they are written; 0: none. Default: 60.")
    ] = None,
    auto_loop: Annotated[bool | None, typer.Option(help="Start federated runs and releases when nodes drift.")] = None,
    answer_escalations: Annotated[bool | None, typer.Option(help="Answer unsure nodes by their model's teacher.")] = None,
    keep_sample_inputs: Annotated[bool | None, typer.Option(help="Record the inputs with the samples too.")] = None,
    log_format: Annotated[str | None, typer.Option(help="How log lines are written: text or json. Default: text.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Prints one line when all listeners answer, with their addresses, and writes them to DATA/serve.json. Logs to standard error.
    SIGUSR1 logs one line with the counts since the start: sessions that are open, and documents read from Redis.
    """
    to_environment(DATA_DIR=data_dir, REDIS_URL=redis_url, REDIS_PASSWORD_FILE=redis_password_file)
    settings = load_settings(
        host=host,
        enrolment_port=enrolment_port,
        fleet_port=fleet_port,
        api_host=api_host,
        api_port=api_port,
        public_names=tuple(public_name) if public_name else None,
        heartbeat_interval_s=heartbeat_interval,
        telemetry_interval_s=telemetry_interval,
        telemetry_flush_s=telemetry_flush,
        auto_loop=auto_loop,
        answer_escalations=answer_escalations,
        keep_sample_inputs=keep_sample_inputs,
        log_format=log_format,
    )
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else a line for every stranger whose handshake fails, health checks too
    if logging.getLogger().level > logging.INFO:
        logging.getLogger().setLevel(logging.INFO)
    write_lines_as(settings.log_format)
    raise_limit()
    use_one_arena()
    collect_rarely()
    asyncio.run(_until_signalled(settings, format))


async def _until_signalled(settings: CloudSettings, format: Format) -> None:
    from littoral_cloud.serve import serve as run

    stop, asked = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asked.set)

    def ready(serving: Serving) -> None:
        with unheard():
            if format is Format.JSON:
                emit_line({"event": "ready", **asdict(serving)})
            else:
                emit(f"ready enrolment={serving.enrolment} fleet={serving.fleet} page=https://{serving.api} pid={serving.pid}")

    await run(settings, time.time, stop=stop, ready=ready, asked=asked)  # noqa: TID251 - the composition root's clock
