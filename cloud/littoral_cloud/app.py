"""Composition root: the only place that builds adapters and hands them to the domain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from littoral.errors import NotFound, unwritten
from littoral_cloud.fleet.anchors import read_anchors
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.fleet.identity import FleetIdentity, belong, missing_keys, read_identity
from littoral_cloud.fleet.ledger import Clock, Ledger
from littoral_cloud.fleet.schema import refuse_newer
from littoral_cloud.settings import CloudSettings
from littoral_cloud.store.connection import Endpoint, endpoint_from
from littoral_cloud.store.embedded import embedded_redis
from littoral_cloud.store.opened_blobs import open_blobs
from littoral_cloud.store.redis_ledger import RedisLedger
from littoral_cloud.store.searches import RedisSearch
from littoral_cloud.trust.audit_archive import FOLDER as AUDIT_FOLDER
from littoral_cloud.trust.audit_archive import AuditArchive
from littoral_cloud.trust.command_key import KeyCommands
from littoral_cloud.trust.store import Trust, has_trust, open_trust
from littoral_cloud.trust.witness import Witness

wall_clock: Clock = time.time  # noqa: TID251 - the composition root: everything else is handed a clock


@dataclass(frozen=True, slots=True)
class Core:
    """What every command and the server stand on."""

    settings: CloudSettings
    ledger: Ledger
    blobs: BlobStore
    trust: Trust
    clock: Clock
    witness: Witness


@asynccontextmanager
async def open_core(settings: CloudSettings, *, clock: Clock = wall_clock, stranger: bool = False) -> AsyncIterator[Core]:
    """Opens the data folder and Redis: the one that the settings name, else the embedded one.

    Args:
        stranger: also where these keys and blobs are not those of the fleet in that Redis.

    Raises:
        NoSpace: the disk is full. BadInput: the data folder cannot be written, a setting is wrong, or the Redis that it names
            cannot hold a ledger.
        Unavailable: Redis cannot be had; the hint says how to get it.
        BadInput: a newer release has written to this ledger.
        Untrusted: a key is damaged, or these keys and blobs are not the fleet's.
    """
    async with AsyncExitStack() as stack:
        try:
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            blobs = open_blobs(settings.data_dir, settings.blobs)
        except OSError as error:
            place = error.filename or settings.data_dir
            raise unwritten(f"data folder: {place}", error, hint="name another --data-dir") from error
        endpoint = await stack.enter_async_context(_redis(settings))
        ledger = await stack.enter_async_context(RedisLedger.open(endpoint, clock))
        await refuse_newer(ledger)
        known = await read_identity(ledger)
        if known is not None and not has_trust(settings.keys):
            raise missing_keys(known, str(settings.keys))
        trust = open_trust(settings.keys, clock(), settings.certificate_days, key_commands(settings))
        trust.follow((await read_anchors(ledger))[0], known)
        witness = Witness(settings.data_dir / "audit-head.json", clock, trust.signing_keys())
        core = Core(settings, ledger, blobs, trust, clock, witness)
        if not stranger:
            blobs.identity(make=known is None)
            await belong(ledger, identity_of(core), f"{settings.keys} and {settings.blobs or settings.data_dir / 'blobs'}")
        await witness.look(ledger)
        yield core
        await witness.end(ledger)


def key_commands(settings: CloudSettings) -> KeyCommands:
    """Raises BadInput."""
    return KeyCommands.of(settings.ca_key_command, settings.signing_key_command)


def identity_of(core: Core) -> FleetIdentity:
    """Of the keys and blobs of these settings."""
    ca, key = core.trust.ca.fingerprint, core.trust.signing_key_id
    return FleetIdentity(ca=ca, signing_key=key, blobs=core.blobs.identity(make=False))


def audit_archive(core: Core, to: Path | None = None) -> AuditArchive:
    """`to`: the folder of the files; None: the one in the data folder."""
    folder = to or core.settings.data_dir / AUDIT_FOLDER
    return AuditArchive(core.ledger, folder, core.trust, core.witness, core.clock)


@asynccontextmanager
async def open_existing(settings: CloudSettings, *, stranger: bool = False) -> AsyncIterator[Core]:
    """As open_core, for commands that look at what is there, or go on with it: a mistyped path does not become a coordinator.

    Raises NotFound where the data folder holds no coordinator's data, having made nothing; what open_core raises.
    """
    if not has_trust(settings.keys):
        raise NotFound(
            f"data folder: {settings.data_dir} holds no coordinator's data",
            hint="name the folder of `littoral-cloud serve` or `train` with --data-dir or LITTORAL_DATA_DIR",
        )
    async with open_core(settings, stranger=stranger) as core:
        yield core


@asynccontextmanager
async def open_search(settings: CloudSettings, name: str) -> AsyncIterator[RedisSearch]:
    """The stored search of this name: in the Redis that the settings name, else in the embedded one. Raises as open_core."""
    async with _redis(settings) as endpoint:
        search = await asyncio.to_thread(RedisSearch, endpoint, name)
        try:
            yield search
        finally:
            search.close()


@asynccontextmanager
async def _redis(settings: CloudSettings) -> AsyncIterator[Endpoint]:
    if settings.redis_url is not None:
        yield endpoint_from(settings.redis_url, settings.redis_password_file, settings.redis_replicas)
        return
    async with embedded_redis(settings.data_dir / "redis") as socket:
        yield Endpoint(socket=socket)
