"""littoral-cloud doctor: checks this machine, and the coordinator that runs on it."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.errors import FleetError, Unavailable
from littoral.transport import asked_at, split_address
from littoral_cloud.api.open_files import limits, room_for
from littoral_cloud.cli.noun import noun
from littoral_cloud.local.discovery import SERVE_FILE, Serving, api_socket
from littoral_cloud.settings import CloudSettings, load_settings
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit
from littoral_cloud.terminal.text import counted

app = noun("Check this machine and the running coordinator.")

ANSWER_S = 3.0
API_S = 30.0  # it reads every node
AGAIN_S = 0.3
ENOUGH_BYTES = 2_000_000_000
"""Free disk space for a teacher, its students and a few rounds."""

PACKAGES = ("littoral", "grpcio", "protobuf", "redis", "torch", "onnx", "onnxruntime", "ncnn", "flwr")
OPTIONAL = ("ncnn",)


@dataclass(frozen=True, slots=True)
class CheckResult:
    check: str
    ok: bool
    found: str
    hint: str = ""


class Unfit(FleetError):
    """The doctor found a fault."""

    code = "unfit"
    exit_code = 1


@app.command(
    epilog="Example: littoral-cloud doctor --server",
    help=f"Check Redis, keys, ports, disk and versions. Exit code {Unfit.exit_code} where a check fails.",
)
def doctor(
    server: Annotated[
        bool, typer.Option("--server", help="Check only that the running server answers: for health checks.")
    ] = False,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    settings = load_settings(data_dir=data_dir)
    checks = (_listeners, _redis) if server else (_versions, _folder, _keys, _disk, _files, _listeners, _redis, _api)
    findings = asyncio.run(_examine(settings, checks, must_serve=server, folder_by_flag=data_dir is not None))
    emit(findings, format)
    bad = [finding for finding in findings if not finding.ok]
    if bad:
        raise Unfit(
            f"{len(bad)} of {counted(len(findings), 'check')} failed: {', '.join(f.check for f in bad)}", hint=bad[0].hint
        )


@dataclass(frozen=True, slots=True)
class _Patient:
    settings: CloudSettings
    must_serve: bool
    folder_by_flag: bool
    clock: Callable[[], float] = time.time  # noqa: TID251 - the command line is where the clock comes in


async def _examine(
    settings: CloudSettings,
    checks: tuple[Callable[[_Patient], Awaitable[list[CheckResult]]], ...],
    *,
    must_serve: bool,
    folder_by_flag: bool,
) -> list[CheckResult]:
    patient = _Patient(settings, must_serve, folder_by_flag)
    return [finding for check in checks for finding in await check(patient)]


async def _versions(patient: _Patient) -> list[CheckResult]:
    findings = [CheckResult("python", True, platform.python_version())]
    for name in PACKAGES:
        try:
            findings.append(CheckResult(name, True, version(name)))
        except PackageNotFoundError:
            hint = "" if name in OPTIONAL else "install littoral[cloud]"
            findings.append(CheckResult(name, name in OPTIONAL, "not installed", hint))
    return findings


async def _folder(patient: _Patient) -> list[CheckResult]:
    folder = patient.settings.data_dir
    place = next(path for path in (folder, *folder.parents) if path.exists())
    ok = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    found = str(folder) if place == folder else f"{folder}, not made yet"
    return [CheckResult("data folder", ok, found, "" if ok else f"make {place} writable, or set LITTORAL_DATA_DIR")]


async def _keys(patient: _Patient) -> list[CheckResult]:
    from littoral_cloud.cli.key_checks import key_findings

    return [CheckResult(*found) for found in await asyncio.to_thread(key_findings, patient.settings)]


async def _disk(patient: _Patient) -> list[CheckResult]:
    folder = patient.settings.data_dir
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    ok = free >= ENOUGH_BYTES
    return [CheckResult("disk", ok, f"{free / 1e9:.1f} GB free", "" if ok else f"have {ENOUGH_BYTES / 1e9:.0f} GB free")]


async def _files(patient: _Patient) -> list[CheckResult]:
    """The limit of this process: a service may have another one, which `serve` logs at its start."""
    soft, hard = limits()
    try:
        room = room_for(hard)
    except FleetError as error:
        return [CheckResult("open files", False, error.message, error.hint)]
    return [CheckResult("open files", True, f"{room}; the soft limit is {soft}, `serve` raises it" if hard > soft else str(room))]


async def _listeners(patient: _Patient) -> list[CheckResult]:
    """Where a server runs, checks a TLS handshake with both listeners; else that their ports are free."""
    settings = patient.settings
    serving = Serving.read(settings.data_dir)
    if serving is None and patient.must_serve:
        return [CheckResult("server", False, f"none runs on {settings.data_dir}", "start it: littoral-cloud serve")]
    if serving is None:
        return list(_ports(settings))
    findings = []
    for name, address in (("enrolment", serving.enrolment), ("fleet", serving.fleet)):
        _, port = split_address(address, SERVE_FILE)
        try:
            await _handshake(settings, port)
            findings.append(CheckResult(f"{name} listener", True, f"answers on port {port}"))
        except (OSError, ssl.SSLError, TimeoutError) as error:
            why = str(error) or type(error).__name__
            findings.append(CheckResult(f"{name} listener", False, f"port {port}: {why}", "see the server's log"))
    return [*findings, await _readiness(api_socket(settings.data_dir))]


async def _readiness(path: Path) -> CheckResult:
    """What /readyz says; one that has just been started has ANSWER_S to become ready."""
    hint = "see docs/operations.md, and the server's log"
    try:
        async with asyncio.timeout(2 * ANSWER_S):
            late = await _not_ready(path)
            for _ in range(round(ANSWER_S / AGAIN_S)):
                if not late:
                    break
                await asyncio.sleep(AGAIN_S)
                late = await _not_ready(path)
    except (OSError, EOFError, TimeoutError, ValueError, KeyError, TypeError) as error:
        return CheckResult("ready", False, f"{path}: {str(error) or type(error).__name__}", hint)
    return CheckResult("ready", not late, "; ".join(late) or "every part", hint if late else "")


async def _not_ready(path: Path) -> list[str]:
    """The parts that are not ready, each with its reason. Asked without httpx, whose import takes longer than the check."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        parts = json.loads(await reader.read())["parts"]
    finally:
        writer.close()
    return [f"{part['part']}: {part['why']}" for part in parts if not part["ready"]]


async def _handshake(settings: CloudSettings, port: int) -> None:
    """Checks TCP and the server's certificate. A listener that demands ours refuses us after that."""
    from littoral_cloud.trust.store import numbered

    authorities = "".join((place / "ca.pem").read_text(encoding="ascii") for place in numbered(settings.keys, "ca"))
    context = ssl.create_default_context(cadata=authorities)
    context.set_alpn_protocols(["h2"])
    context.check_hostname = False  # a server on this machine: our CA's signature is enough
    async with asyncio.timeout(ANSWER_S):
        _, writer = await asyncio.open_connection(asked_at(settings.host), port, ssl=context)
    writer.transport.abort()


def _ports(settings: CloudSettings) -> Iterator[CheckResult]:
    from littoral_cloud.api.server import check_free

    for name, host, port in (
        ("enrolment", settings.host, settings.enrolment_port),
        ("fleet", settings.host, settings.fleet_port),
        ("api", settings.api_host, settings.api_port),
    ):
        try:
            check_free(name, host, port)
            yield CheckResult(f"{name} port", True, f"{host}:{port} is free" if port else "any free one")
        except FleetError as error:
            yield CheckResult(f"{name} port", False, error.message, error.hint)


async def _redis(patient: _Patient) -> list[CheckResult]:
    """Checks the Redis in the settings; else the embedded one, or that its binary exists."""
    from littoral_cloud.store.binary import find_binary
    from littoral_cloud.store.connection import Endpoint, endpoint_from
    from littoral_cloud.store.redis_files import cut_off
    from littoral_cloud.store.redis_ledger import RedisLedger
    from littoral_cloud.trust.private_socket import socket_path

    settings = patient.settings
    try:
        if settings.redis_url is not None:
            endpoint = endpoint_from(settings.redis_url, settings.redis_password_file)
        else:
            socket_file = socket_path((settings.data_dir / "redis").resolve(), "redis.sock")
            if not _listens(socket_file):
                if patient.must_serve:
                    raise Unavailable(f"redis: no answer on {socket_file}", hint="see DATA/redis/redis.log")
                binary = await asyncio.to_thread(find_binary)
                return [CheckResult("redis", True, f"embedded, not running: {binary.path} {'.'.join(map(str, binary.version))}")]
            endpoint = Endpoint(socket=socket_file)
        async with RedisLedger.open(endpoint, patient.clock, patience_s=ANSWER_S):
            pass
        cut = cut_off(settings.data_dir / "redis") if settings.redis_url is None else []
        hint = "the last writes are lost, acknowledged ones too: compare with a backup, see `littoral-cloud audit verify`"
        lost = [CheckResult("redis file", True, f"warning: it was cut off once: {cut[-1]}", hint)] if cut else []
        return [CheckResult("redis", True, f"{endpoint} answers and is fit"), *lost]
    except FleetError as error:
        return [CheckResult("redis", False, error.message, error.hint)]


async def _api(patient: _Patient) -> list[CheckResult]:
    """What the coordinator that commands ask says."""
    from littoral_cloud.client.fleet_client import fleet_client, profile_of

    settings = patient.settings
    try:
        if profile_of(settings, folder_by_flag=patient.folder_by_flag) is None and Serving.read(settings.data_dir) is None:
            return []
        async with asyncio.timeout(API_S), fleet_client(settings, folder_by_flag=patient.folder_by_flag) as fleet:
            me, found = await fleet.get("/whoami"), await fleet.get("/certificates")
    except FleetError as error:
        return [CheckResult("operator api", False, error.message, error.hint)]
    except TimeoutError:
        return [CheckResult("operator api", False, f"no answer within {API_S:.0f} s", "see the server's log")]
    return [CheckResult("operator api", True, f"answers; you are {me['name']}, {me['role']}"), _certificates(found)]


def _certificates(found: Mapping[str, Any]) -> CheckResult:
    """A warning only, because a node may be switched off for long."""
    nodes = counted(found["nodes"], "node")
    if not found["late"]:
        return CheckResult("certificates", True, f"of {nodes}: valid for two weeks or longer")
    words = "; ".join(f"{each['name']}: {each['warning']}" for each in found["first"])
    hint = "a node that is there renews its own, and one that was away gets another one when it comes back"
    return CheckResult("certificates", True, f"warning: {found['late']} of {nodes}: {words}", hint)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(ANSWER_S)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
