"""What the coordinator tells of itself: /healthz, /readyz and /metrics, for the server that has the paths."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from littoral import __version__
from littoral.exposition import CONTENT_TYPE, Families
from littoral.usage import cpu_seconds, rss_bytes
from littoral_cloud.counting.durations import BOUNDS_S, Durations, LabelledDurations
from littoral_cloud.counting.session_counts import SessionCounts
from littoral_cloud.counting.transfer_counts import TransferCounts
from littoral_cloud.federation.run import KIND as RUN
from littoral_cloud.federation.run import RunState
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.telemetry_desk import Taken, TelemetryDesk
from littoral_cloud.health.fleet_counts import FleetCounts
from littoral_cloud.health.loop_delay import LoopDelay
from littoral_cloud.health.metric_table import METRICS, OTHER_MODEL
from littoral_cloud.health.readiness import Readiness, Validity, free_bytes
from littoral_cloud.rollouts.assignments import AssignmentState
from littoral_cloud.rollouts.seen_fleet import SeenFleet
from littoral_cloud.rollouts.state import RolloutState
from littoral_cloud.webhooks.records import PROGRESS

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class HealthAnswer:
    """Of HTTP."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class ProcessCounts:
    """What counts in this process.

    Args:
        sessions_open: how many are open now.
        calls: over gRPC, by method and status.
        http: likewise over HTTP, by method, route and status.
    """

    coordinator: str
    ledger: Ledger
    sessions: SessionCounts
    sessions_open: Callable[[], int]
    desk: TelemetryDesk
    calls: LabelledDurations
    http: LabelledDurations
    transfers: TransferCounts
    certificates: Callable[[], tuple[Validity, ...]]
    folders: Mapping[str, Path]


class CoordinatorHealth:
    """Args:
    fleet: its view follows federated runs and the progress of webhooks too; it does not run yet.
    clock: seconds since 1970-01-01 UTC.
    """

    def __init__(self, counted: ProcessCounts, fleet: SeenFleet, clock: Callable[[], float]) -> None:
        self.readiness = Readiness(counted.ledger, fleet.view, counted.folders, counted.certificates, clock)
        self.counted = counted
        self.fleet = fleet
        self._clock = clock
        self._counts = FleetCounts(fleet.view, clock)
        self._delay = LoopDelay()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.readiness.run(), name="readiness")
            tasks.create_task(self._delay.run(), name="event loop delay")

    def healthz(self) -> HealthAnswer:
        """That the process lives, and its event loop with it."""
        return _json(200, {"status": "ok"})

    def readyz(self) -> HealthAnswer:
        """Whether it may be sent work, and which part is not ready; 503 where one is not."""
        parts = [{"part": each.part, "ready": each.ready, "why": each.why} for each in self.readiness.parts]
        ready = all(part["ready"] for part in parts)
        return _json(200 if ready else 503, {"ready": ready, "parts": parts})

    async def metrics(self) -> HealthAnswer:
        """For Prometheus."""
        families = Families(METRICS)
        free = await asyncio.gather(*(free_bytes(path) for path in self.counted.folders.values()))
        known = zip(self.counted.folders, free, strict=True)
        families.add_all("littoral_disk_free_bytes", {name: count for name, count in known if count is not None})
        self._add_process(families)
        self._add_sessions(families)
        self._add_store(families)
        self._add_nodes(families)
        self._add_rollouts(families)
        self._add_runs(families)
        self._add_webhooks(families)
        return HealthAnswer(200, CONTENT_TYPE, families.exposition())

    def _add_process(self, families: Families) -> None:
        families.add("littoral_coordinator_info", {"version": __version__, "coordinator": self.counted.coordinator})
        families.add_all("littoral_coordinator_ready", {each.part: each.ready for each in self.readiness.parts})
        families.add("process_memory_usage_bytes", rss_bytes())
        families.add("process_cpu_time_seconds_total", cpu_seconds())
        _add_durations(families, "littoral_event_loop_delay_seconds", self._delay.seen)
        now = self._clock()
        left = {each.name: each.expires_at - now for each in self.counted.certificates()}
        families.add_all("littoral_certificate_left_seconds", left)

    def _add_sessions(self, families: Families) -> None:
        counted = self.counted
        families.add("littoral_session_open", counted.sessions_open())
        families.add("littoral_session_opened_total", counted.sessions.opened)
        families.add_all("littoral_session_ended_total", counted.sessions.ended)
        families.add_all("littoral_session_refused_total", counted.sessions.refused)
        families.add_all("littoral_session_messages_total", counted.sessions.messages)
        taken = {each.name.lower(): counted.desk.taken[each] for each in Taken}
        families.add_all("littoral_telemetry_reports_total", taken)
        families.add("littoral_drift_detected_total", counted.desk.lines["drift.detected"])
        families.add("littoral_drift_ended_total", counted.desk.lines["drift.ended"])
        families.add("littoral_blob_sent_bytes_total", counted.transfers.sent_bytes)
        families.add("littoral_blob_received_bytes_total", counted.transfers.received_bytes)
        _add_labelled(families, "rpc_server_call_duration_seconds", counted.calls)
        _add_labelled(families, "http_server_request_duration_seconds", counted.http)

    def _add_store(self, families: Families) -> None:
        ledger, view = self.counted.ledger, self.fleet.view
        _add_labelled(families, "littoral_commit_duration_seconds", ledger.commits)
        families.add("littoral_commit_wait_seconds", ledger.commits_wait_s)
        families.add("littoral_documents_read_total", ledger.documents_read)
        families.add("littoral_view_lag_seconds", view.behind_s)
        families.add_all("littoral_view_documents", {kind: len(view.of(kind)) for kind in view.kinds})

    def _add_nodes(self, families: Families) -> None:
        families.add_all("littoral_node_count", self._counts.by_state())
        families.add("littoral_node_quarantined", self._counts.quarantined)
        released = {held.record.model for held in self.fleet.view.of("release").values()}
        updates, drifted = Counter[tuple[str, str]](), Counter[str]()
        for (model, state), count in self._counts.by_update().items():
            updates[model if model in released else OTHER_MODEL, state] += count
        for labels, count in sorted(updates.items()):
            families.add("littoral_node_update_count", count, *labels)
        for model, count in self._counts.drifted().items():
            drifted[model if model in released else OTHER_MODEL] += count
        families.add_all("littoral_node_drifted", drifted)

    def _add_rollouts(self, families: Families) -> None:
        states = dict.fromkeys(RolloutState, 0)
        for held in self.fleet.view.of("rollout").values():
            states[held.record.state] += 1
        families.add_all("littoral_rollout_count", states)
        live = self.fleet.live_rollouts()
        families.add("littoral_rollout_paused", sum(bool(rollout.paused_by) for _, rollout in live.values()))
        waves = {rollout.model: 0 for _, rollout in live.values()}
        for id, (_, rollout) in live.items():
            if rollout.state is RolloutState.PENDING:
                continue  # of a model, one goes on at a time
            waves[rollout.model] = rollout.running_wave.number if rollout.running_wave is not None else 0
            for state in AssignmentState:
                if count := self.fleet.assigned(id, state):
                    families.add("littoral_rollout_nodes", count, rollout.model, state)
        families.add_all("littoral_rollout_wave", waves)

    def _add_runs(self, families: Families) -> None:
        states, rounds = dict.fromkeys(RunState, 0), dict[str, float]()
        for held in self.fleet.view.of(RUN).values():
            states[held.record.state] += 1
            if not held.record.state.terminal:
                rounds[held.record.model] = max(rounds.get(held.record.model, 0), held.record.done)
        families.add_all("littoral_run_count", states)
        families.add_all("littoral_run_rounds_finished", rounds)

    def _add_webhooks(self, families: Families) -> None:
        progress = {name: held.record for name, held in self.fleet.view.of(PROGRESS).items()}
        families.add_all("littoral_webhook_delivered_total", {name: each.delivered for name, each in progress.items()})
        families.add_all("littoral_webhook_given_up_total", {name: each.given_up for name, each in progress.items()})
        now = self._clock()
        failing = {name: now - each.failing_since if each.failing_since else 0.0 for name, each in progress.items()}
        families.add_all("littoral_webhook_failing_seconds", failing)


def _json(status: int, body: Mapping[str, object]) -> HealthAnswer:
    return HealthAnswer(status, JSON, json.dumps(body).encode() + b"\n")


def _add_durations(families: Families, name: str, durations: Durations, *labels: str) -> None:
    families.add_histogram(name, BOUNDS_S, durations.counts, durations.total_s, *labels)


def _add_labelled(families: Families, name: str, durations: LabelledDurations) -> None:
    for labels, each in sorted(durations.by_labels.items()):
        _add_durations(families, name, each, *labels)
