"""Telemetry while the cloud comes and goes, and while the agent does: nothing is counted twice, nothing is lost in silence."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.digest import digest_of
from littoral.fleet.v1 import session_pb2
from littoral.manifest import Manifest
from littoral_cloud.api.wire import report_from
from littoral_cloud.fleet import telemetry as totals
from littoral_node.telemetry.backlog import MOST_BYTES, MOST_REPORT_BYTES, MOST_REPORTS, WaitingReport, added, thinned, too_much
from littoral_node.telemetry.counting import TelemetryWindows
from littoral_node.telemetry.outbox import OUTSTANDING, SPOOL_EVERY_S, TelemetryOutbox
from littoral_node.telemetry.spool import Spool
from tests.kit.models import artifact, images

MODEL = "tiny"
X = images(1)
CLASSES = [0]
WINDOW_S = 10.0
DIGEST = digest_of(b"one")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return artifact(tmp_path_factory.mktemp("artifact"))


class World:
    """One node, over any number of starts, and the totals of its cloud."""

    def __init__(self, spool: Path, manifest: Manifest) -> None:
        self.spool, self.manifest = spool, manifest
        self.now, self.boots, self.observed = 1_000.0, 0, 0
        self.totals: totals.Telemetry | None = None
        self.acks: list[tuple[int, str]] = []
        self.logged: list[str] = []
        self.connected = False
        self.start()

    def start(self) -> None:
        self.connected, self.acks = False, []
        self.boots += 1
        self.counters = TelemetryWindows(lambda: self.now)
        self.reports = TelemetryOutbox(
            self.counters,
            f"{self.boots:032x}",
            self.say,
            lambda: self.connected,
            Spool(self.spool),
            lambda e, **_: self.logged.append(e),
        )

    def say(self, word: session_pb2.ConnectRequest) -> bool:
        if self.connected:
            self.hear(word)
        return self.connected

    def hear(self, word: session_pb2.ConnectRequest) -> None:
        report = report_from(word.telemetry)
        self.totals = totals.fold(self.totals, report, self.now) or self.totals
        self.acks.append((report.sequence, report.boot_id))

    def connect(self) -> None:
        self.connected, self.acks = True, []
        for word in self.reports.resume():
            self.hear(word)

    def drop(self) -> None:
        self.connected, self.acks = False, []

    def acknowledge(self) -> None:
        while self.acks:
            sequence, boot = self.acks.pop(0)
            self.reports.acknowledge(sequence, boot)

    def serve(self, requests: int) -> None:
        for _ in range(requests):
            self.counters.observe(MODEL, self.manifest, DIGEST, X, CLASSES, 0.001, ok=True)
        self.observed += requests

    def window(self) -> None:
        self.now += WINDOW_S
        self.reports.flush(self.now)

    def happens(self, event: str) -> None:
        match event:
            case "serve":
                self.serve(1)
            case "window":
                self.window()
            case "connect" if not self.connected:
                self.connect()
            case "drop":
                self.drop()
            case "acknowledge":
                self.acknowledge()
            case "lose":
                self.acks.clear()  # counted, and the word that says so is lost
            case "restart" if self.boots < totals.REMEMBERED_BOOTS:
                self.reports.close(self.now)
                self.start()
            case "kill" if self.boots < totals.REMEMBERED_BOOTS:
                self.start()

    @property
    def counted(self) -> int:
        return self.totals.totals.requests if self.totals else 0


def test_while_the_cloud_is_there_nothing_is_written(manifest: Manifest, tmp_path: Path) -> None:
    world = World(tmp_path / "spool", manifest)
    world.connect()
    for _ in range(20):
        world.serve(3)
        world.window()
        world.acknowledge()
        assert not world.spool.exists()
    assert world.counted == world.observed == 60


def test_while_it_is_away_the_disk_is_written_once_a_minute(manifest: Manifest, tmp_path: Path) -> None:
    world = World(tmp_path / "spool", manifest)
    sizes = []
    for _ in range(3 * round(SPOOL_EVERY_S / WINDOW_S)):
        world.serve(1)
        world.window()
        sizes.append(world.spool.stat().st_size)
    assert len(set(sizes)) == 3
    world.connect()
    world.acknowledge()
    assert world.counted == world.observed
    assert not world.spool.exists()


def test_a_fleet_that_comes_back_does_not_say_all_at_once(manifest: Manifest, tmp_path: Path) -> None:
    world = World(tmp_path / "spool", manifest)
    for _ in range(3 * OUTSTANDING):
        world.serve(1)
        world.window()
    world.connect()
    assert len(world.acks) == OUTSTANDING
    world.reports.acknowledge(*world.acks.pop(0))
    assert len(world.acks) == OUTSTANDING
    world.acknowledge()
    assert world.counted == world.observed


def test_an_older_cloud_names_no_boot_when_it_acknowledges(manifest: Manifest, tmp_path: Path) -> None:
    world = World(tmp_path / "spool", manifest)
    for _ in range(2):
        world.serve(2)
        world.window()
        world.reports.close(world.now)
        world.start()
    world.connect()
    while world.acks:
        world.reports.acknowledge(world.acks.pop(0)[0])
    assert not world.spool.exists()
    assert world.counted == world.observed == 4


def test_a_kill_loses_what_was_not_on_the_disk_and_nothing_else(manifest: Manifest, tmp_path: Path) -> None:
    world = World(tmp_path / "spool", manifest)
    world.serve(5)
    world.window()  # on the disk
    world.serve(7)
    world.window()  # less than a minute later: not yet
    world.start()
    world.connect()
    world.acknowledge()
    assert world.counted == 5


def test_a_record_that_was_cut_is_said_and_those_before_it_are_read(manifest: Manifest, tmp_path: Path) -> None:
    world = World(tmp_path / "spool", manifest)
    for _ in range(2):
        world.serve(5)
        world.window()
    world.reports.close(world.now)
    whole = world.spool.read_bytes()
    world.spool.write_bytes(whole[:-3])
    world.start()
    assert world.logged == ["telemetry-damaged"]
    world.serve(1)
    world.reports.close(world.now + 1)
    world.start()
    world.connect()
    world.acknowledge()
    assert world.counted == 5 + 1


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_lies_in_the_file_the_agent_starts(
    manifest: Manifest, tmp_path_factory: pytest.TempPathFactory, junk: bytes
) -> None:
    path = tmp_path_factory.mktemp("spool") / "spool"
    path.write_bytes(junk)
    world = World(path, manifest)
    world.serve(1)
    world.window()
    assert world.reports is not None
    assert Spool(path).read()[1] == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["serve", "window", "connect", "drop", "acknowledge", "lose", "restart"]), max_size=60))
def test_over_clean_restarts_everything_is_counted_once(
    manifest: Manifest, tmp_path_factory: pytest.TempPathFactory, events: list[str]
) -> None:
    world = World(tmp_path_factory.mktemp("spool") / "spool", manifest)
    for event in events:
        world.happens(event)
        assert world.counted <= world.observed
    world.drop()
    world.window()
    world.connect()
    world.acknowledge()
    assert world.counted == world.observed
    assert not world.spool.exists()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["serve", "window", "connect", "drop", "acknowledge", "kill"]), max_size=60))
def test_over_kills_nothing_is_counted_twice(
    manifest: Manifest, tmp_path_factory: pytest.TempPathFactory, events: list[str]
) -> None:
    world = World(tmp_path_factory.mktemp("spool") / "spool", manifest)
    for event in events:
        world.happens(event)
        assert world.counted <= world.observed


def word(sequence: int, *, boot: str = "a", model: str = MODEL, requests: int = 1, size: int = 0) -> WaitingReport:
    report = session_pb2.TelemetryReport(
        boot_id=boot,
        sequence=sequence,
        window_start_unix_ms=1_000 * sequence,
        window_end_unix_ms=1_000 * sequence + 999,
        model_name=model,
        requests=requests,
        class_counts=[requests, 0],
        inputs=session_pb2.InputSketch(sketch_id="s", features=1, bins=2, counts=[requests, 1] * (1 + size), examples=requests),
    )
    return WaitingReport.of(report)


def requests_of(waiting: list[WaitingReport]) -> int:
    return sum(entry.report().requests for entry in waiting)


def test_too_many_are_added_up_from_the_oldest(manifest: Manifest) -> None:
    waiting = [word(i, model=f"m{i % 3}") for i in range(1, MOST_REPORTS + 2)]
    assert too_much(waiting)
    kept, gone = thinned(waiting)
    assert not gone
    assert not too_much(kept)
    assert requests_of(kept) == len(waiting)
    assert kept[-1] == waiting[-1]  # the newest stay as they are
    assert kept[0].report().requests > 1
    for model in ("m0", "m1", "m2"):
        sequences = [entry.sequence for entry in kept if entry.report().model_name == model]
        assert sequences == sorted(sequences)


def test_what_may_have_been_counted_is_not_added_but_goes_when_there_is_no_other_way() -> None:
    waiting = [WaitingReport(e.data, e.boot_id, e.sequence, sent=True) for e in (word(i) for i in range(1, MOST_REPORTS + 2))]
    kept, gone = thinned(waiting)
    assert gone == waiting[: len(gone)]
    assert kept == waiting[len(gone) :]


def test_a_sum_is_never_more_than_a_session_takes() -> None:
    rng = np.random.default_rng(1)
    waiting = [word(i, requests=int(rng.integers(1, 2**31)), size=6_000) for i in range(1, 60)]
    assert sum(len(e.data) for e in waiting) > MOST_BYTES
    kept, _ = thinned(waiting)
    assert all(len(entry.data) <= MOST_REPORT_BYTES for entry in kept)
    assert not too_much(kept)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_thinning_keeps_every_request_that_it_does_not_say_it_lost(seed: int) -> None:
    rng = random.Random(seed)
    said = rng.randrange(0, 400)
    waiting: list[WaitingReport] = []
    for i in range(rng.randrange(900, 1_400)):
        entry = word(i + 1, boot=rng.choice("ab"), model=rng.choice("mn"), requests=rng.randrange(1, 9))
        waiting.append(WaitingReport(entry.data, entry.boot_id, entry.sequence, sent=i < said))
    kept, gone = thinned(waiting)
    assert requests_of(kept) + requests_of(gone) == requests_of(waiting)
    assert not too_much(kept)


def test_windows_added_up_span_both() -> None:
    both = added(word(1, requests=2).report(), word(4, requests=3).report())
    assert (both.sequence, both.requests, both.inputs.examples) == (4, 5, 5)
    assert (both.window_start_unix_ms, both.window_end_unix_ms) == (1_000, 4_999)
    assert list(both.class_counts) == [5, 0]
    assert list(both.inputs.counts) == [5, 2]
