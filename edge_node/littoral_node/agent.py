"""The composition root of a node: builds everything, wires it, and ends it in order. Nothing is decided here."""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from pathlib import Path

from littoral.codec import FEATURES
from littoral.fleet.v1 import session_pb2
from littoral_node.artifacts.repository import Artifacts
from littoral_node.artifacts.usage import NodeUsage
from littoral_node.config.settings import NodeSettings
from littoral_node.federation.labelled import Count
from littoral_node.federation.participant import Participant
from littoral_node.federation.warm import trains
from littoral_node.identity.corrupt import CorruptFiles
from littoral_node.identity.folder import NodeFolder
from littoral_node.link.blobs import NodeBlobs
from littoral_node.link.renewal import CertificateRenewal
from littoral_node.link.session import NodeSession
from littoral_node.link.wire import hello_to
from littoral_node.machine.conditions import Thresholds
from littoral_node.machine.hardware import HardwareProfile, inference_threads, profile
from littoral_node.machine.overlay import widest
from littoral_node.machine.situation import Situation
from littoral_node.measuring.benchmarks import Benchmarks
from littoral_node.runtimes import facts
from littoral_node.runtimes.using import Using, settle_on
from littoral_node.serving.front import Front
from littoral_node.serving.service import Service
from littoral_node.serving.slots import Slots
from littoral_node.supervision.crashes import CrashBook
from littoral_node.supervision.log import Log
from littoral_node.supervision.notify import Notifier
from littoral_node.supervision.watchdog import Watchdog
from littoral_node.telemetry.counting import TelemetryWindows
from littoral_node.telemetry.outbox import TelemetryOutbox
from littoral_node.telemetry.spool import Spool
from littoral_node.update.desired import Updates
from littoral_node.update.job import Kit
from littoral_node.update.local import LocalRepository

_AGAIN_S = 5.0


class Agent:
    """One node's process. `notify` tells a service manager how it is.

    An identity that is damaged or has expired keeps it from the cloud, never from serving what it verified before. Raises
    NotFound where the folder is not enrolled.

    Args:
        clock: seconds since 1970-01-01 UTC.
        hardware: what this machine is; None: it is looked at.
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
        self._clock = clock
        self._notify = notify
        self._settings = settings
        self._log = log
        self._boot_id = secrets.token_hex(16)
        self._rng = random.Random(self._boot_id)  # noqa: S311 - jitter, not secrets
        self._damage = CorruptFiles(folder.root, log)
        self.certificate = CertificateRenewal(folder, clock=clock, monotonic=time.monotonic, rng=self._rng, log=log)
        now = clock()
        settle_on(Using(settings.providers, folder.runtimes))
        self._threads = inference_threads(settings.threads)
        # Looking takes a second: what was served before comes first.
        self._hardware = hardware or cache(
            lambda: profile(folder.root, facts(), threads=self._threads, root=settings.machine_root)
        )
        self._blobs = self._blob_folder(folder.blobs)
        self._slots = Slots()
        self._telemetry = TelemetryWindows()
        self._session = self._session_of()
        self._situation = self._situation_of()
        artifacts = Artifacts(folder.artifacts, self._blobs, self.certificate.signing_keys)
        usage = NodeUsage(folder, settings.limits, settings.node_budgets(), self._slots, artifacts, log, self._damage)
        kit = self._kit(folder, artifacts, usage)

        def problems() -> list[str]:
            return [*self.certificate.problems(), *self._damage.words()]

        self._updates = Updates(folder, kit, self._blobs, self._say_reported, now=now, beside=problems)
        self._benchmarks = self._benchmarks_of(artifacts, usage)
        service = Service(
            self._slots,
            self._telemetry,
            max_in_flight=settings.requests,
            repository=LocalRepository(self._updates),
            split=usage.requests,
            batch=settings.batch,
        )
        service.problems = self._problems
        self._front = Front(service, settings, folder.root, log, now=now, damaged=self._damage)
        self._reports = TelemetryOutbox(
            self._telemetry,
            self._boot_id,
            self._session.send,
            lambda: self._session.connected,
            Spool(folder.telemetry),
            log,
            self._damage,
        )
        self._end_offload = self._offload(service, folder) if settings.offload else None
        self._federated_blobs = self._blob_folder(folder.federation / "blobs")
        self._participant: Participant | None = None
        if settings.labelled is not None and trains(log):
            self._participant = Participant(self._federated_blobs, settings.labelled, folder.federation, self._say_reply)
        self._task: session_pb2.FederatedTask | None = None
        self._task_due = asyncio.Event()
        self._looking = asyncio.Lock()

    # -- the parts, as the settings say ----------------------------------------------------------------------------

    def _blob_folder(self, place: Path) -> NodeBlobs:
        return NodeBlobs(
            place,
            self.certificate.channel,
            rate=self._settings.max_download_rate,
            keep_free=self._settings.keep_free,
            monotonic=time.monotonic,
            rng=self._rng,
        )

    def _session_of(self) -> NodeSession:
        return NodeSession(
            open=self.certificate.channel,
            hello=self._hello,
            resume=self._resume,
            deliver=self._deliver,
            welcomed=self._welcomed,
            log=self._log,
            monotonic=time.monotonic,
            rng=self._rng,
            barred=self.certificate.barred,
        )

    def _situation_of(self) -> Situation:
        settings = self._settings
        return Situation(
            settings.node_budgets(),
            settings.overlays(),
            Thresholds(settings.battery_low, settings.hot_at),
            root=settings.machine_root,
            line=settings.metered,
            changed=self._session.send,
            log=self._log,
            monotonic=time.monotonic,
            labelled=Count(settings.labelled, self._log),
        )

    def _kit(self, folder: NodeFolder, artifacts: Artifacts, usage: NodeUsage) -> Kit:
        settings, overlays = self._settings, tuple(self._settings.overlays().values())
        crashes = CrashBook(folder.root / "crashes.json", self._log, self._damage)
        return Kit(
            artifacts=artifacts,
            slots=self._slots,
            counters=self._telemetry,
            crashes=crashes,
            watchdog=Watchdog(settings.inference_limit, crashes.hung),
            hardware=self._hardware,
            budgets={name: widest(budget, overlays) for name, budget in settings.node_budgets().items()},
            usage=usage,
            labelled=settings.labelled,
            threads=self._threads,
            limit_s=settings.inference_limit,
            monotonic=time.monotonic,
            rng=self._rng,
            log=self._log,
            damaged=self._damage,
        )

    def _benchmarks_of(self, artifacts: Artifacts, usage: NodeUsage) -> Benchmarks:
        return Benchmarks(
            artifacts,
            usage,
            hardware=self._hardware,
            threads=self._threads,
            lock=self._settings.measure_lock,
            machine_root=self._settings.machine_root,
            send=self._session.send,
            log=self._log,
            rng=self._rng,
        )

    def _offload(self, service: Service, folder: NodeFolder) -> Callable[[], Awaitable[None]]:
        """Gives what ends it."""
        from littoral_node.offload.build import offload_from

        service.offload, end = offload_from(
            self._settings,
            folder,
            self._telemetry,
            self.certificate.channel,
            connected=lambda: self._session.connected,
            metered=lambda: self._situation.metered,
            clock=self._clock,
            monotonic=time.monotonic,
            log=self._log,
        )
        return end

    # -- its life --------------------------------------------------------------------------------------------------

    async def run(self, ready: Callable[[dict[str, str]], None], stop: asyncio.Event | None = None) -> None:
        """Until SIGTERM or SIGINT, or until `stop` is set.

        Args:
            ready: called with {"http": "host:port", "grpc": ...} once requests are answered.
        """
        stop = stop or asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.set)
        await self._updates.start()  # what was verified before serves, with or without a cloud
        try:
            where = await self._front.start()
            ready(where)
            self._notify("READY=1", f"STATUS={self._status()}")
            self._log("started", node=self.certificate.node_name, id=self.certificate.node_id, **where, boot=self._boot_id)
            await self._work_until(stop)
        finally:
            await self._updates.drain()
            if self._participant is not None:
                await self._participant.close()
            await self._front.stop()
            if self._end_offload is not None:
                await self._end_offload()
            self._reports.close(self._clock())
            self._slots.close()
            await self._blobs.close()
            await self._federated_blobs.close()
            self._log("stopped", node=self.certificate.node_name)

    async def _work_until(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            parts = [
                tasks.create_task(self._tended(name, work), name=name)
                for name, work in (
                    ("session", lambda: self._once_looked(self._session.run)),
                    ("situation", self._situation.run),
                    ("updates", lambda: self._once_looked(self._updates.run)),
                    ("proof", self._updates.prove),
                    ("benchmarks", lambda: self._once_looked(self._benchmarks.run)),
                    ("telemetry", lambda: self._reports.run(self._clock)),
                    ("identity", lambda: self.certificate.run(lambda: self._session.connected, self._reopen)),
                    ("federation", self._take_part),
                    ("watchdog", lambda: self._notify.keep_alive(self._front.alive, self._status, self._log)),
                )
            ]
            await stop.wait()
            self._notify("STOPPING=1")
            self._log("draining", node=self.certificate.node_name)
            for part in parts:
                part.cancel()

    async def _once_looked(self, work: Callable[[], Awaitable[None]]) -> None:
        async with self._looking:
            await asyncio.to_thread(self._hardware)
        await work()

    async def _tended(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """A part that falls over is begun again: whatever is wrong with it, the node goes on answering requests."""
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - the boundary between the parts and serving
                traceback.print_exc()
                self._log("part-failed", part=name, detail=f"{type(error).__name__}: {error}")
            await asyncio.sleep(_AGAIN_S)

    def _status(self) -> str:
        served = ", ".join(f"{name} ({self._slots.served_name(name)})" for name in self._slots.names()) or "nothing"
        cloud = "there" if self._session.connected else "away"
        return "; ".join([f"serves {served}", f"the cloud is {cloud}", *self._problems()])

    def _problems(self) -> list[str]:
        """For health and for who supervises this agent."""
        return [*self.certificate.problems(), *self._damage.words(), *self._updates.problems()]

    def _reopen(self) -> None:
        """With another certificate: every channel anew, for the cloud asks after it with each call."""
        self._session.reopen()
        if self._end_offload is not None:
            self._closing_offload = asyncio.ensure_future(self._end_offload())

    # -- the session's words ---------------------------------------------------------------------------------------

    def _hello(self) -> session_pb2.Hello:
        features = ("measure", *FEATURES) + (() if self._participant is None else ("federated", "coded-messages"))
        now = self._situation
        limits = self._settings.limits
        return hello_to(self._boot_id, features, self._hardware(), now.budgets(), now.conditions(), limits, now.count())

    def _resume(self) -> Iterable[session_pb2.ConnectRequest]:
        yield self._situation.word()
        yield session_pb2.ConnectRequest(reported=self._updates.reported())
        yield from self._benchmarks.results()
        yield from self._reports.resume()

    def _welcomed(self, welcome: session_pb2.Welcome) -> None:
        self._reports.every(welcome.telemetry_interval_s)
        self.certificate.look_again()

    def _deliver(self, word: session_pb2.ConnectResponse) -> None:
        if word.HasField("telemetry_ack"):
            self._reports.acknowledge(word.telemetry_ack.sequence, word.telemetry_ack.boot_id)
            return
        desired = word.desired
        self._updates.set_desired(desired)
        self._benchmarks.reconcile(desired.benchmarks)
        self._task = desired.federated if desired.HasField("federated") else None
        self._task_due.set()

    def _say_reported(self) -> None:
        if not self._session.connected:
            return  # a session that opens begins with it
        self._session.send(session_pb2.ConnectRequest(reported=self._updates.reported()))

    def _say_reply(self, reply: session_pb2.FederatedReply) -> None:
        self._session.send(session_pb2.ConnectRequest(federated_reply=reply))

    async def _take_part(self) -> None:
        while True:
            await self._task_due.wait()
            self._task_due.clear()
            if self._participant is not None:
                if self._task is not None:
                    await self._situation.look()  # the cloud takes a reply of no more examples than it was told of
                await self._participant.wanted(self._task)
                if self._task is None:
                    self._federated_blobs.sweep(())  # what a run that is over left behind
