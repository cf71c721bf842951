"""The embedded Redis: a real redis-server as our child, on a private socket, for one machine.

Processes that share a data folder share one server. `owner.lock` (flock) says whose child it is; the others connect to the
socket, and when the owner ends one of them takes the lock and starts the server again: a gap of some tenths of a second,
which every call of the ledger outlasts. The server itself has `server.lock`, on an inherited descriptor, so that no
second server ever opens the files of one that is still shutting down. Both locks vanish with their processes, so kill -9
leaves nothing to be cleaned up by hand.

What was answered is in the file before the answer goes out, and synced to the disk within a second, by us. Not by Redis's
own `appendfsync everysec`: while its sync is under way it answers before it writes, and with a busy disk ten times kill -9
lost 630 of 31,248 answered commits (none of 31,549 this way). Nor by `always`: it left a fifth of the audited commits a
second, and ends the server when the disk is full.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from littoral.backoff import Backoff
from littoral.errors import NoSpace, Unavailable, unwritten
from littoral.process.tether import tethered
from littoral_cloud.store.binary import Binary, find_binary
from littoral_cloud.store.redis_files import MAX_LOG_BYTES, cut_off, last_line, size_of, sync_grown
from littoral_cloud.trust.files import write_atomically
from littoral_cloud.trust.private_socket import private_folder, socket_path

log = logging.getLogger(__name__)

START_S = 10.0  # from start to the first answer; a server that says it is loading is given longer
LOADING_S = 300.0
STOP_S = 10.0
SYNC_S = 1.0  # what a power loss may cost
LEAST_BYTES = 64_000  # free, without which a server does not even write its first files
_RETRY_S = 0.02
_BACKOFF = Backoff(0.02, 5.0)


@asynccontextmanager
async def embedded_redis(folder: Path, *, find: Callable[[], Binary] = find_binary) -> AsyncIterator[Path]:
    """The socket of this folder's server: started here, or shared with the process that did.

    Raises:
        Unavailable: there is no redis-server, or it does not start; the hint says what to do. NoSpace: its disk is full.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise unwritten(f"redis: {folder}", error, hint="set LITTORAL_DATA_DIR") from error
    server = _Server(folder.resolve(), find)
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    keeper = asyncio.create_task(server.keep(ready))
    try:
        await asyncio.wait({keeper, ready}, return_when=asyncio.FIRST_COMPLETED)
        if keeper.done():
            keeper.result()
        yield server.socket
    finally:
        keeper.cancel()
        try:
            await keeper
        except asyncio.CancelledError:
            log.debug("redis: the embedded server is not ours any more")
        except Unavailable as error:
            if ready.done():  # else it was raised above
                log.error("redis: the embedded server was given up: %s", error)


class _Server:
    def __init__(self, folder: Path, find: Callable[[], Binary]) -> None:
        self.folder = folder
        self.socket = socket_path(folder, "redis.sock")
        self._find = find

    async def keep(self, ready: asyncio.Future[None]) -> None:
        """Owns the server or waits to succeed its owner, for ever; `ready` is set at the first answer."""
        while True:
            lock = _try_lock(self.folder / "owner.lock")
            if lock is None:
                await self._share(ready)
                continue
            try:
                await self._own(ready)
            finally:
                os.close(lock)

    async def _share(self, ready: asyncio.Future[None]) -> None:
        """Returns when the server that another process owns has gone, or cannot be reached."""
        connection = await _ping(self.socket)
        if connection is None:
            await asyncio.sleep(_RETRY_S)  # its owner is starting or ending it
            return
        reader, writer = connection
        try:
            _settle(ready)
            await reader.read()  # ends with the server
        except OSError as error:
            log.debug("redis: the shared server went away: %s", error)
        finally:
            writer.close()

    async def _own(self, ready: asyncio.Future[None]) -> None:
        binary = await asyncio.to_thread(self._find)
        self._refuse_downgrade(binary)
        private_folder(self.folder)
        private_folder(self.socket.parent)
        attempt = 0
        while True:
            logged = size_of(self.folder / "redis.log")
            process = await self._start(binary)
            try:
                await self._answers(process)
                if lines := cut_off(self.folder, since=logged):
                    log.error(
                        "redis: its append-only file was damaged, and what stood behind the damage is gone, also what was "
                        "acknowledged: compare with a backup of %s (redis says: %s)",
                        self.folder,
                        "; ".join(lines),
                    )
                write_atomically(self.folder / "socket", os.fsencode(self.socket))
                _settle(ready)
                attempt = 0
                code = await self._ends(process)
                log.warning("redis: the embedded server ended with %s; starting it again", code)
            except Unavailable:
                if not ready.done():
                    raise
                log.exception("redis: the embedded server does not start; trying again in %.1f s", _BACKOFF.bound_s(attempt))
            finally:
                await _stop(process)
            await asyncio.sleep(_BACKOFF.bound_s(attempt))  # no jitter: one process alone starts this server
            attempt += 1

    def _refuse_downgrade(self, binary: Binary) -> None:
        """A 6.2 server does not see the files of a 7.0 one: it would start empty."""
        if binary.version < (7, 0, 0) and (self.folder / "appendonlydir").exists():
            raise Unavailable(
                f"redis: {self.folder} was written by a server of 7.0 or newer, {binary.path} is "
                f"{'.'.join(map(str, binary.version))} and would lose everything in it",
                hint="put the newer redis-server back on PATH",
            )

    async def _start(self, binary: Binary) -> asyncio.subprocess.Process:
        lock = await self._exclusive()
        try:
            log_file = self.folder / "redis.log"
            if log_file.exists() and log_file.stat().st_size > MAX_LOG_BYTES:
                log_file.replace(self.folder / "redis.log.1")
            self.socket.unlink(missing_ok=True)
            options = {
                "port": "0",
                "unixsocket": str(self.socket),
                "unixsocketperm": "700",
                "dir": str(self.folder),
                "appendonly": "yes",
                "appendfsync": "no",  # see the module's docstring
                "save": "",
                "daemonize": "no",
                "supervised": "no",
                "logfile": str(log_file),
                "pidfile": str(self.folder / "redis.pid"),
            }
            arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
            return await asyncio.create_subprocess_exec(
                *tethered(binary.path, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=self.folder,
                pass_fds=(lock,),  # the server holds this lock for as long as it lives
                start_new_session=True,  # Ctrl-C is for us; it ends when we have drained
            )
        finally:
            os.close(lock)

    async def _exclusive(self) -> int:
        """The server lock, once a server whose owner was killed has written its last and gone."""
        deadline = asyncio.get_running_loop().time() + STOP_S
        asked = False
        while (lock := _try_lock(self.folder / "server.lock", inheritable=True)) is None:
            if asyncio.get_running_loop().time() > deadline:
                pid_file = self.folder / "redis.pid"
                pid = pid_file.read_text().strip() if pid_file.exists() else "unknown"
                raise Unavailable(f"redis: a left-over server in {self.folder} does not end", hint=f"end process {pid}")
            if not asked and (connection := await _ping(self.socket)) is not None:
                connection[1].write(b"SHUTDOWN\r\n")  # already on its way where there is a parent-death signal
                connection[1].close()  # once that is written
                asked = True
            await asyncio.sleep(_RETRY_S)
        return lock

    async def _ends(self, process: asyncio.subprocess.Process) -> int:
        """Waits for the server's end and syncs what it writes meanwhile."""
        ended = asyncio.create_task(process.wait())
        synced: dict[Path, tuple[int, int]] = {}
        try:
            while not (await asyncio.wait({ended}, timeout=SYNC_S))[0]:
                try:
                    await asyncio.to_thread(sync_grown, self.folder, synced)
                except OSError:
                    log.exception("redis: %s cannot be synced: a power loss now would lose what was written", self.folder)
            return ended.result()
        finally:
            ended.cancel()

    async def _answers(self, process: asyncio.subprocess.Process) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        while (connection := await _ping(self.socket)) is None:
            limit = LOADING_S if self.socket.exists() else START_S  # it opens the socket, then loads
            if process.returncode is not None or loop.time() - started > limit:
                if (free := shutil.disk_usage(self.folder).free) < LEAST_BYTES:
                    raise NoSpace(f"redis: {self.folder} has {free:,} bytes free: no server starts there", hint="make room there")
                state = f"ended with {process.returncode}" if process.returncode is not None else "does not answer"
                raise Unavailable(
                    f"redis: the embedded server {state}: {last_line(self.folder / 'redis.log')}",
                    hint=f"see {self.folder / 'redis.log'}",
                )
            await asyncio.sleep(_RETRY_S)
        connection[1].close()


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _try_lock(path: Path, *, inheritable: bool = False) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    if inheritable:
        os.set_inheritable(lock, True)
    return lock


async def _ping(socket: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """A connection to a server that answers; None where there is none, or it is still loading."""
    try:
        async with asyncio.timeout(START_S):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                if await reader.readline() == b"+PONG\r\n":
                    return reader, writer
            except BaseException:
                writer.close()
                raise
            writer.close()
    except (OSError, TimeoutError):
        return None
    return None


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        log.error("redis: the embedded server does not end; killing it")
        process.kill()
        await process.wait()
