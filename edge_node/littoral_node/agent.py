"""The composition root of a node: builds everything, wires it, and ends it in order. Nothing is decided here."""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from littoral.codec import FEATURES
from littoral.fleet.v1 import session_pb2
from littoral_node.artifacts.repository import Artifacts
from littoral_node.certificates.standing import FleetStanding
from littoral_node.config.settings import NodeSettings
from littoral_node.federation.labelled import Count
from littoral_node.federation.participation import Participation
from littoral_node.identity.corrupt import CorruptFiles
from littoral_node.identity.folder import NodeFolder
from littoral_node.link.messages import SessionMessages
from littoral_node.link.session import NodeSession
from littoral_node.link.wire import hello_to
from littoral_node.machine.conditions import Thresholds
from littoral_node.machine.hardware import HardwareProfile, inference_threads, profile
from littoral_node.machine.situation import Situation
from littoral_node.measuring.benchmarks import Benchmarks
from littoral_node.offload.attach import attach_offload
from littoral_node.runtimes import facts
from littoral_node.runtimes.using import Using, settle_on
from littoral_node.serving.front import Front
from littoral_node.serving.service import Service
from littoral_node.serving.slots import Slots
from littoral_node.supervision.log import Log
from littoral_node.supervision.notify import Notifier, status_line
from littoral_node.supervision.tasks import Work, run_until
from littoral_node.telemetry.counting import TelemetryWindows
from littoral_node.telemetry.outbox import TelemetryOutbox
from littoral_node.telemetry.spool import Spool
from littoral_node.transfer.blobs import NodeBlobs
from littoral_node.update.desired import Updates
from littoral_node.update.job import Kit
from littoral_node.update.local import LocalRepository
from littoral_node.update.turn import Hindrances


class Agent:
    """One node's process. `notify` reports its state to a service manager.

    A damaged or expired identity keeps the node from the cloud, never from serving what it has verified before. Raises NotFound
    where the folder is not enrolled.

    Args:
        clock: seconds since 1970-01-01 UTC.
        hardware: what this machine is; None: the agent reads the machine.
    """

    def __init__(
        self,
        folder: NodeFolder,
        settings: NodeSettings,
        log: Log,
        notify: Notifier,
        clock: Callable[[], float] = time.time,  # noqa: TID251 - the composition root
        hardware: Callable[[], HardwareProfile] | None = None,
    ) -> None:
        settle_on(Using(settings.providers, folder.runtimes))
        monotonic, boot_id, threads = time.monotonic, secrets.token_hex(16), inference_threads(settings.threads)
        rng = random.Random(boot_id)  # noqa: S311 - jitter, not secrets
        self._damage = damage = CorruptFiles(folder.root, log)
        self._standing = standing = FleetStanding(folder, clock=clock, monotonic=monotonic, rng=rng, log=log, damaged=damage)
        self.certificate, self._clock = certificate, clock = standing.certificate, standing.clock
        self._notify, self._log, self._boot_id, now, root = notify, log, boot_id, clock(), settings.machine_root
        # Reading takes a second: what was served before comes first.
        self._hardware = hardware = hardware or cache(lambda: profile(folder.root, facts(), threads=threads, root=root))
        self._slots, counters = Slots(), TelemetryWindows()
        self._session = session = NodeSession(lambda: self._messages, certificate.way(), log=log, monotonic=monotonic, rng=rng)
        send = session.send

        def blobs_in(place: Path) -> NodeBlobs:
            rate, keep_free = settings.max_download_rate, settings.keep_free
            return NodeBlobs(place, certificate.channel, rate=rate, keep_free=keep_free, monotonic=monotonic, rng=rng)

        budgets, overlays, line = settings.node_budgets(), settings.overlays(), settings.metered
        hot, count = Thresholds(settings.battery_low, settings.hot_at), Count(settings.labelled, log)
        self._situation = situation = Situation(
            budgets, overlays, hot, root=root, line=line, changed=send, log=log, monotonic=monotonic, labelled=count
        )
        self._blobs = blobs_in(folder.blobs)
        artifacts = Artifacts(folder.artifacts, self._blobs, certificate.signing_keys)
        kit = Kit(
            settings=settings,
            folder=folder,
            artifacts=artifacts,
            slots=self._slots,
            counters=counters,
            hardware=hardware,
            threads=threads,
            monotonic=monotonic,
            clock=clock,
            rng=rng,
            log=log,
            damaged=damage,
        )
        self._updates = Updates(
            kit, self._blobs, lambda: session.send_made(self._updates.message), now=now, beside=self._problems_of_the_folder
        )
        self._benchmarks = Benchmarks(kit, send)
        local, most, batch = LocalRepository(self._updates), settings.requests, settings.batch
        service = Service(self._slots, counters, max_in_flight=most, repository=local, split=kit.usage.requests, batch=batch)
        service.problems = self._problems
        self._front = Front(service, settings, folder.root, log, now=now, damaged=damage)
        spool = Spool(folder.telemetry)
        self._telemetry = TelemetryOutbox(counters, boot_id, send, lambda: session.connected, spool, log, damage)
        self._close_offload = attach_offload(
            service, kit, certificate.channel, lambda: session.connected, lambda: situation.metered, clock
        )
        federated = blobs_in(folder.federation / "blobs")
        self._federation = Participation(federated, settings.labelled, folder.federation, send, situation.look, log)
        kit.hindrance = Hindrances(settings.defer, situation, service, self._federation)

        def hello() -> session_pb2.Hello:
            features, now = ("measure", *FEATURES, *self._federation.features), situation
            what = now.budgets(), now.conditions(), settings, now.count()
            return standing.greeting(hello_to(boot_id, features, hardware(), *what))

        def states() -> list[session_pb2.ConnectRequest]:
            return [situation.message(), self._updates.message(), *self._benchmarks.results()]

        following = (self._updates, self._benchmarks, self._federation)
        anchors, leave = certificate.follow_anchors, self._federation.leave
        self._messages = SessionMessages(hello, states, self._telemetry, following, standing.welcomed, anchors, leave)
        self._reading = asyncio.Lock()

    async def run(self, ready: Callable[[dict[str, str]], None], stop: asyncio.Event | None = None) -> None:
        """Until SIGTERM or SIGINT, or until `stop` is set.

        Args:
            ready: called with {"http": "host:port", "grpc": ...} once requests are answered.
        """
        stop = stop or asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        await self._updates.start()  # what was verified before serves, with or without a cloud
        try:
            where = await self._front.start()
            ready(where)
            self._notify("READY=1", f"STATUS={self._status()}")
            self._log("started", node=self.certificate.node_name, id=self.certificate.node_id, **where, boot=self._boot_id)
            await run_until(stop, self._works(), self._log, self._stopping)
        finally:
            await self._updates.drain()
            await self._federation.close()
            await self._front.stop()
            await self._close_offload()
            self._telemetry.close(self._clock())
            self._slots.close()
            await self._blobs.close()
            self._log("stopped", node=self.certificate.node_name)

    def _works(self) -> dict[str, Work]:
        return {
            "session": lambda: self._with_hardware(self._session.run),
            "situation": self._situation.run,
            "updates": lambda: self._with_hardware(self._updates.run),
            "proof": self._updates.prove,
            "evidence": self._updates.report_evidence,
            "benchmarks": lambda: self._with_hardware(self._benchmarks.run),
            "telemetry": lambda: self._telemetry.run(self._clock),
            "identity": lambda: self._standing.run(lambda: self._session.connected, self._reopen),
            "federation": self._federation.run,
            "watchdog": lambda: self._notify.keep_alive(self._front.alive, self._status, self._log),
        }

    async def _with_hardware(self, work: Work) -> None:
        async with self._reading:
            await asyncio.to_thread(self._hardware)
        await work()

    def _stopping(self) -> None:
        self._notify("STOPPING=1")
        self._log("draining", node=self.certificate.node_name)

    def _status(self) -> str:
        slots, problems = self._slots, self._problems()
        return status_line({name: slots.served_name(name) for name in slots.names()}, problems, connected=self._session.connected)

    def _problems(self) -> list[str]:
        """For health and for the service manager."""
        return [*self._problems_of_the_folder(), *self._updates.problems()]

    def _problems_of_the_folder(self) -> list[str]:
        return [*self._standing.problems(), *self._damage.problems()]

    def _reopen(self) -> None:
        """Opens every channel again, with another certificate: the cloud checks it with each call."""
        self._session.reopen()
        self._closing_offload = asyncio.ensure_future(self._close_offload())
