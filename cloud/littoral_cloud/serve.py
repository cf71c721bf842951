"""The coordinator's process: what open_core gave, two listeners, the controllers, one TaskGroup, one end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from littoral import __version__
from littoral.fleet.v1 import (
    blob_pb2,
    blob_pb2_grpc,
    enrolment_pb2,
    enrolment_pb2_grpc,
    escalation_pb2,
    escalation_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
)
from littoral.transport import asked_at, join_address
from littoral_cloud.api.blob_service import BlobServicer
from littoral_cloud.api.enrolment_service import EnrolmentServicer
from littoral_cloud.api.escalation_service import EscalationServicer
from littoral_cloud.api.health_service import add_health
from littoral_cloud.api.hub import SessionHub
from littoral_cloud.api.listener_certificates import ListenerCertificates
from littoral_cloud.api.node_calls import NodeCalls
from littoral_cloud.api.open_files import ConnectionLimits, limits, room_for
from littoral_cloud.api.server import Listener
from littoral_cloud.api.session_service import SessionServicer
from littoral_cloud.api.session_terms import SessionTerms
from littoral_cloud.app import Core, open_core
from littoral_cloud.commands.followed import FOLLOWED
from littoral_cloud.commands.use_case import Office
from littoral_cloud.counting.durations import LabelledDurations
from littoral_cloud.counting.transfer_counts import TransferCounts
from littoral_cloud.federation.controller import RunController
from littoral_cloud.fleet.anchors import KIND as ANCHORS
from littoral_cloud.fleet.anchors import FleetAnchors
from littoral_cloud.fleet.ledger import Clock
from littoral_cloud.fleet.migrations import Migrations
from littoral_cloud.fleet.node_names import NodeNames
from littoral_cloud.fleet.quarantine import QuarantinePolicy
from littoral_cloud.fleet.telemetry_desk import FLUSH_INTERVALS
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.health.health import CoordinatorHealth, ProcessCounts
from littoral_cloud.health.readiness import Validity
from littoral_cloud.local.discovery import Serving, claimed
from littoral_cloud.loop import Loop
from littoral_cloud.quarantine.controller import QuarantineController
from littoral_cloud.retention.controller import Retention
from littoral_cloud.retention.parts import own_parts_of, parts_of
from littoral_cloud.rollouts import controller as rollouts
from littoral_cloud.rollouts.rechoice_controller import Rechooser
from littoral_cloud.rollouts.seen_fleet import SeenFleet
from littoral_cloud.settings import CloudSettings
from littoral_cloud.teacher_service.process import TeacherProcess
from littoral_cloud.teacher_service.samples import SampleFiles
from littoral_cloud.teacher_service.service import TeacherService
from littoral_cloud.trust.anchors_keeper import AnchorsKeeper
from littoral_cloud.trust.ca import DAY_S
from littoral_cloud.web.app import operators_listening
from littoral_cloud.webhooks.records import PROGRESS, WebhookProgress
from littoral_cloud.webhooks.sender import WebhookSender

log = logging.getLogger(__name__)

DRAIN_S = 2.0
"""Sessions have this long to hear that we go."""

STOP_S = 1.0
"""And streams of blobs this long to end: they resume elsewhere."""


def reachable_host(settings: CloudSettings) -> str:
    """The name that nodes get: the first public one, else the address that is bound.

    A server that binds every address and was given no public name has a certificate for this machine's own names alone.
    """
    return settings.public_names[0] if settings.public_names else asked_at(settings.host)


async def serve(
    settings: CloudSettings,
    clock: Clock,
    *,
    stop: asyncio.Event,
    ready: Callable[[Serving], None],
    asked: asyncio.Event | None = None,
) -> None:
    """Serves until `stop` is set, then drains.

    Args:
        ready: called once, when both listeners answer.
        asked: when it is set, the counts are logged, and it is cleared.

    Raises:
        BadInput: the limit of open files is too low, or a setting is wrong.
        Unavailable: another coordinator serves this data folder, a port is in use, or Redis cannot be had.
    """
    coordinator = secrets.token_hex(8)
    with claimed(settings.data_dir, coordinator) as former:
        room = room_for(limits()[0])
        log.info("%s", room)
        async with open_core(settings, clock=clock) as core:
            flush_s = min(settings.telemetry_flush_s, FLUSH_INTERVALS * settings.telemetry_interval_s)
            hub = SessionHub(core.ledger, clock, coordinator, former=former, room=room, flush_s=flush_s)
            await _serve(core, hub, room, stop=stop, ready=ready, asked=asked or asyncio.Event())


async def _serve(
    core: Core,
    hub: SessionHub,
    room: ConnectionLimits,
    *,
    stop: asyncio.Event,
    ready: Callable[[Serving], None],
    asked: asyncio.Event,
) -> None:
    settings = core.settings
    names = (*settings.public_names, asked_at(settings.host), asked_at(settings.api_host))
    certificates = ListenerCertificates(core.trust, tuple(dict.fromkeys(names)), core.clock)
    records = {**FOLLOWED, ANCHORS: FleetAnchors, PROGRESS: WebhookProgress}
    fleet = SeenFleet(FleetView(core.ledger, records, calm=hub.pushes.over), settings.approval_above)
    health, calls = _health(core, hub, fleet, certificates), NodeCalls(core.ledger, core.clock)
    office = Office(core, fleet.view, NodeNames(fleet.view), health, fleet)
    async with (
        _teachers(core) as teachers,
        _listening(core, hub, teachers, room, certificates, health, calls) as serving,
        operators_listening(office, certificates) as api,
        asyncio.TaskGroup() as tasks,
    ):
        serving = replace(serving, api=api)
        hub.listens_at(serving.fleet, serving.enrolment)
        keeper = _anchors_keeper(core, fleet.view, hub, certificates)
        beside = {"certificates": certificates.renew_for_ever(), "health": health.run(), "keys": keeper.run()}
        runs = _controllers(office, hub, fleet, teachers) | beside | {"calls of nodes": calls.run()}
        running = [tasks.create_task(run, name=name) for name, run in runs.items()]
        running.append(tasks.create_task(_log_counts(core, hub, asked), name="counts"))
        serving.write(core.settings.data_dir)
        try:
            ready(serving)
            await stop.wait()
            log.info("draining")
            health.readiness.drain()
            await hub.drain(DRAIN_S)
        finally:
            serving.withdraw(core.settings.data_dir)
            for task in running:
                task.cancel()


async def _log_counts(core: Core, hub: SessionHub, asked: asyncio.Event) -> None:
    while True:
        await asked.wait()
        asked.clear()
        counts = {"sessions": hub.sessions, "documents_read": core.ledger.documents_read}
        log.info("counts: %s", json.dumps(counts))


def _health(core: Core, hub: SessionHub, fleet: SeenFleet, certificates: ListenerCertificates) -> CoordinatorHealth:
    blobs = Path(core.settings.blobs) if core.settings.blobs and "://" not in core.settings.blobs else None
    counted = ProcessCounts(
        coordinator=hub.coordinator,
        ledger=core.ledger,
        sessions=hub.counts,
        sessions_open=lambda: hub.sessions,
        desk=hub.desk,
        calls=LabelledDurations(),
        http=LabelledDurations(),
        transfers=TransferCounts(),
        certificates=lambda: (Validity("listeners", *certificates.validity), Validity("ca", *core.trust.ca.validity)),
        folders={"data": core.settings.data_dir, **({"blobs": blobs} if blobs else {})},
    )
    return CoordinatorHealth(counted, fleet, core.clock)


def _anchors_keeper(core: Core, view: FleetView, hub: SessionHub, certificates: ListenerCertificates) -> AnchorsKeeper:
    rng = random.Random()  # noqa: S311 - jitter
    return AnchorsKeeper(core.ledger, core.trust, view, hub.tell_anchors, certificates.follow_keys, core.clock, rng)


def _controllers(office: Office, hub: SessionHub, fleet: SeenFleet, teachers: TeacherService) -> dict[str, Any]:
    """What runs beside the listeners, by name."""
    core = office.core
    rng = random.Random()  # noqa: S311 - jitter
    view, settings = fleet.view, core.settings
    left_out = QuarantinePolicy(settings.quarantine_failures, settings.quarantine_within_s, settings.quarantine_lasts_s)
    running: dict[str, Any] = {
        "view": view.run(),
        "sessions": hub.run(),
        "audit": core.witness.follow(core.ledger),
        "teacher": teachers.open(),
        "migrations": Migrations(core.ledger).run(),
        "rollouts": rollouts.Controller(core.ledger, fleet, core.clock, rng).run(),
        "choice": Rechooser(core.ledger, fleet, core.clock, rng).run(),
        "federated runs": RunController(core.ledger, core.settings.data_dir, core.clock, rng).run(),
        "quarantine": QuarantineController(core.ledger, view, left_out, core.clock, rng).run(),
        "retention": Retention(core.ledger, parts_of(core, view), core.clock, rng, own=own_parts_of(core)).run(),
    }
    running["webhooks"] = WebhookSender(core.ledger, core.clock, rng).run()
    if settings.auto_loop:
        running["loop"] = Loop(office, view, rng).run()
    return running


@asynccontextmanager
async def _teachers(core: Core) -> AsyncIterator[TeacherService]:
    """Where nodes that are not sure ask; the process of the teachers ends with it."""
    settings = core.settings
    process = TeacherProcess(settings.data_dir, settings.blobs) if settings.answer_escalations else None
    samples = SampleFiles(settings.data_dir / "samples")
    keys = core.trust.signing_keys()
    teachers = TeacherService(
        core.ledger, core.blobs, keys, process, samples, core.clock, keep_inputs=settings.keep_sample_inputs
    )
    try:
        yield teachers
    finally:
        await teachers.close()
        if process is not None:
            await process.close()


@asynccontextmanager
async def _listening(
    core: Core,
    hub: SessionHub,
    teachers: TeacherService,
    room: ConnectionLimits,
    certificates: ListenerCertificates,
    health: CoordinatorHealth,
    calls: NodeCalls,
) -> AsyncIterator[Serving]:
    settings, counted = core.settings, health.counted
    rng = random.Random()  # noqa: S311 - jitter
    terms = SessionTerms(
        __version__, settings.heartbeat_interval_s, settings.telemetry_interval_s, core.clock, rng, core.trust.seal_time
    )

    def register_fleet(server: Any) -> None:
        session_pb2_grpc.add_SessionServiceServicer_to_server(SessionServicer(core.ledger, hub, terms, core.trust), server)
        blobs = BlobServicer(core.ledger, core.blobs, counted.transfers)
        blob_pb2_grpc.add_BlobServiceServicer_to_server(blobs, server)
        escalation_pb2_grpc.add_EscalationServiceServicer_to_server(EscalationServicer(teachers), server)
        add_health(health.readiness, server, session_pb2, blob_pb2, escalation_pb2)

    fleet = await Listener.start(
        "fleet",
        settings.host,
        settings.fleet_port,
        certificates.fleet(),
        register_fleet,
        most=room.fleet_connections,
        calls=counted.calls,
        nodes=calls,
    )
    try:
        certificates.follow(fleet, certificates.fleet)
        fleet_address = join_address(reachable_host(settings), fleet.port)

        def register_enrolment(server: Any) -> None:
            servicer = EnrolmentServicer(
                core.ledger,
                core.trust,
                core.trust.node_keys,
                core.trust.seal_time,
                settings.renew_grace_days * DAY_S,
                fleet_address,
                core.clock,
                random.SystemRandom(),
            )
            enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(servicer, server)
            add_health(health.readiness, server, enrolment_pb2)

        enrolment = await Listener.start(
            "enrolment",
            settings.host,
            settings.enrolment_port,
            certificates.enrolment(),
            register_enrolment,
            most=room.enrolment_connections,
            calls=counted.calls,
        )
        try:
            certificates.follow(enrolment, certificates.enrolment)
            yield Serving(join_address(reachable_host(settings), enrolment.port), fleet_address, os.getpid())
        finally:
            await enrolment.stop(STOP_S)
    finally:
        await fleet.stop(STOP_S)
