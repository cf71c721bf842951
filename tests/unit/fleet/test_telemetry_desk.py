"""Reports are counted in memory and written together; nothing that was acknowledged is lost, and nothing is counted twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from littoral.errors import BadInput, Unavailable
from littoral.sketch import Counted
from littoral_cloud.fleet import drift, telemetry
from littoral_cloud.fleet.ledger import Change, CommittedChange, Fence, Ledger, Write
from littoral_cloud.fleet.node_reports import MOST_CELLS, MOST_WAITING
from littoral_cloud.fleet.records import Desired, DesiredModel, dump
from littoral_cloud.fleet.telemetry_desk import Taken, TelemetryDesk
from littoral_cloud.fleet.windows import OTHERS, UNKNOWN_CLASSES
from tests.kit.patience import PATIENCE_S
from tests.kit.rollout_world import MODEL, artifact
from tests.unit.fleet.test_telemetry_totals import report

pytest_plugins = ("tests.kit.redis",)

BEST_OF_TEN = artifact("best", class_accuracy={str(n): 0.9 for n in range(10)})
NEVER_S = 3600.0
SOON_S = 0.02


def inputs(examples: int = 64, column: int = 0) -> Counted:
    counts = np.zeros((2, 4), np.uint32)
    counts[:, column] = examples
    return Counted("s", counts, examples)


async def counted(ledger: Ledger, model: str = "m") -> tuple[int, int]:
    """(requests in the totals, examples in drift's baseline)"""
    total, known = await ledger.get(telemetry.KIND, f"n1:{model}"), await ledger.get(drift.KIND, f"n1:{model}")
    return total.body["totals"]["requests"] if total else 0, known.body["baseline_examples"] if known else 0


class Acknowledged:
    """What a node heard; one session."""

    def __init__(self) -> None:
        self.said: list[tuple[int, int]] = []  # (boot, sequence)
        self._news = asyncio.Event()

    def __call__(self, boot_id: str, sequence: int) -> None:
        self.said.append((int(boot_id, 16), sequence))
        self._news.set()

    async def until(self, *said: tuple[int, int]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.said != list(said):
                self._news.clear()
                await self._news.wait()

    async def until_last(self, boot: int, sequence: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.said[-1:] != [(boot, sequence)]:
                self._news.clear()
                await self._news.wait()


class Cut:
    """A ledger whose next commit is lost: before it is written, or after."""

    def __init__(self, ledger: Ledger, *, written: bool) -> None:
        self._ledger = ledger
        self._written = written
        self.commits = 0
        self.refused = asyncio.Event()

    async def commit(self, change: Change, *, fence: Fence | None = None) -> CommittedChange:
        self.commits += 1
        if self.commits == 1:
            if self._written:
                await self._ledger.commit(change, fence=fence)
            self.refused.set()
            raise Unavailable("redis: the answer was lost")
        return await self._ledger.commit(change, fence=fence)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


def desk_of(ledger: Any, flush_s: float = NEVER_S) -> TelemetryDesk:
    return TelemetryDesk(ledger, lambda: 1.0, flush_s=flush_s)


@asynccontextmanager
async def running(desk: TelemetryDesk) -> AsyncIterator[TelemetryDesk]:
    task = asyncio.create_task(desk.run())
    yield desk
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_first_report_is_written_at_once_and_the_next_ones_wait(ledger: Ledger) -> None:
    desk, heard = desk_of(ledger), Acknowledged()
    assert await desk.take("n1", report(0, 1, requests=64, inputs=inputs()), heard) is Taken.COUNTED
    assert (heard.said, await counted(ledger)) == ([(0, 1)], (64, 64))
    assert await desk.take("n1", report(0, 2, requests=8, inputs=inputs(8)), heard) is Taken.COUNTED
    assert await desk.take("n1", report(0, 2, requests=8, inputs=inputs(8)), heard) is Taken.REPEATED
    assert (heard.said, await counted(ledger)) == ([(0, 1)], (64, 64))  # not even a repeated one is acknowledged
    await desk.write("n1")
    assert (heard.said, await counted(ledger)) == ([(0, 1), (0, 2)], (72, 72))
    assert await desk.take("n1", report(0, 2, requests=8, inputs=inputs(8)), heard) is Taken.REPEATED
    assert (heard.said[-1], await counted(ledger)) == ((0, 2), (72, 72))


async def test_what_waits_is_written_when_its_time_comes_with_one_acknowledgement_for_all(ledger: Ledger) -> None:
    async with running(desk_of(ledger, SOON_S)) as desk:
        heard = Acknowledged()
        await desk.take("n1", report(0, 1, requests=1), heard)
        for sequence in (2, 3, 4):
            await desk.take("n1", report(0, sequence, requests=1, model="mn"[sequence % 2 : sequence % 2 + 1]), heard)
        await heard.until_last(0, 4)
    assert await counted(ledger) == (3, 0)
    assert await counted(ledger, "n") == (1, 0)


async def test_an_acknowledgement_covers_no_report_that_is_not_written(ledger: Ledger) -> None:
    """Number 2 is of a model that waits, number 3 of one that is written at once: number 3 covers number 2."""
    desk, heard = desk_of(ledger), Acknowledged()
    await desk.take("n1", report(0, 1, requests=5), heard)
    await desk.take("n1", report(0, 2, requests=5), heard)
    await desk.take("n1", report(0, 3, requests=7, model="new"), heard)
    assert heard.said[-1] == (0, 3)
    assert [await counted(ledger), await counted(ledger, "new")] == [(10, 0), (7, 0)]


async def test_a_desk_that_dies_loses_what_it_did_not_acknowledge_and_the_node_says_it_again(ledger: Ledger) -> None:
    heard, said = Acknowledged(), [report(0, sequence, requests=10, inputs=inputs(10)) for sequence in range(1, 6)]
    first = desk_of(ledger)
    for each in said:
        await first.take("n1", each, heard)
    assert heard.said == [(0, 1)]  # and the process ends here
    again = Acknowledged()
    async with running(desk_of(ledger, SOON_S)) as second:
        taken = [await second.take("n1", each, again) for each in said]  # from the front, as after any lost session
        assert taken[1:] == [Taken.COUNTED] * 4
        assert taken[0] is Taken.REPEATED
        await again.until((0, 1), (0, 5))
    assert await counted(ledger) == (50, 50)


async def test_two_desks_that_have_a_node_in_turn_count_each_report_once(ledger: Ledger) -> None:
    one, two = desk_of(ledger), desk_of(ledger)
    heard, elsewhere = Acknowledged(), Acknowledged()
    for sequence in (1, 2, 3):
        await one.take("n1", report(0, sequence, requests=1, inputs=inputs(1)), heard)
    for sequence in (2, 3, 4):  # it moved, and repeats what it heard nothing of
        await two.take("n1", report(0, sequence, requests=1, inputs=inputs(1)), elsewhere)
    await two.write("n1")
    await one.write("n1")  # conflicts: all that it has is counted already
    assert await counted(ledger) == (4, 4)
    await one.take("n1", report(0, 5, requests=1, inputs=inputs(1)), heard)  # and it comes back
    await one.write("n1")
    assert await counted(ledger) == (5, 5)
    assert heard.said[-1] == (0, 5)


async def test_what_waits_is_read_again_after_a_conflict_and_judged_as_before(ledger: Ledger) -> None:
    """The desk holds how to read a report again, not the report."""
    desk, other, heard = desk_of(ledger), desk_of(ledger), Acknowledged()
    said = {n: report(0, n, requests=1, inputs=inputs(1), class_counts=(1,) * (UNKNOWN_CLASSES + 1)) for n in (1, 2, 3)}
    read: list[int] = []

    def again(n: int) -> Callable[[], telemetry.WindowReport]:
        def reads() -> telemetry.WindowReport:
            read.append(n)
            return said[n]

        return reads

    for n in (1, 2, 3):
        await desk.take("n1", said[n], heard, again=again(n))
    assert read == []
    await other.take("n1", said[2], Acknowledged())
    await other.write("n1")
    await desk.write("n1")  # conflicts
    assert read == [2, 3]
    assert await counted(ledger) == (3, 3)
    total = await ledger.get(telemetry.KIND, "n1:m")
    assert total is not None
    assert total.body["totals"]["class_counts"] == []  # very many of a model that is not known: left out at both times


@pytest.mark.parametrize("written", [True, False])
async def test_a_window_whose_answer_was_lost_is_in_both_once(ledger: Ledger, written: bool) -> None:
    desk, heard = desk_of(Cut(ledger, written=written)), Acknowledged()
    said = report(0, 1, requests=64, inputs=inputs())
    with pytest.raises(Unavailable):
        await desk.take("n1", said, heard)
    assert heard.said == []
    assert await counted(ledger) == ((64, 64) if written else (0, 0))  # never one alone, whoever dies now
    await desk.take("n1", said, heard)
    assert (heard.said, await counted(ledger)) == ([(0, 1)], (64, 64))
    await desk.take("n1", report(0, 2, requests=8, inputs=inputs(8)), heard)
    await desk.write("n1")
    assert await counted(ledger) == (72, 72)


async def test_a_baseline_that_begins_anew_in_between_is_kept(ledger: Ledger) -> None:
    desk, heard = desk_of(ledger), Acknowledged()
    await desk.take("n1", report(0, 1, requests=64, inputs=inputs()), heard)
    await desk.take("n1", report(0, 2, requests=8, inputs=inputs(8)), heard)
    await drift.rebaseline(ledger, ["n1"], "m", 2.0)
    await desk.write("n1")
    assert await counted(ledger) == (72, 8)


async def test_drift_is_written_and_announced_at_once_and_other_reports_are_quiet(ledger: Ledger) -> None:
    desk, heard = desk_of(ledger), Acknowledged()
    async with ledger.watch(drift.KIND, telemetry.KIND) as news:
        await desk.take("n1", report(0, 1, inputs=inputs(200)), heard)
        await desk.take("n1", report(0, 2, inputs=inputs(50)), heard)
        await desk.write("n1")
        await desk.take("n1", report(0, 3, inputs=inputs(60)), heard)  # the baseline is full
        assert heard.said[-1] == (0, 3)
        await desk.take("n1", report(0, 4, inputs=inputs(100, 3)), heard)
        assert heard.said[-1] == (0, 3)
        await desk.take("n1", report(0, 5, inputs=inputs(100, 3)), heard)  # far from the baseline
        assert heard.said[-1] == (0, 5)
        generations: dict[str, set[int]] = {drift.KIND: set(), telemetry.KIND: set()}
        async with asyncio.timeout(PATIENCE_S):
            while 4 not in generations[drift.KIND]:
                each = await anext(news)
                generations[each.kind].add(each.generation)
    assert 2 not in generations[drift.KIND]
    assert generations[telemetry.KIND] <= {1}
    assert [line.action for line in await ledger.audit()] == ["drift.detected"]


async def test_a_node_that_waits_for_many_acknowledgements_is_written(ledger: Ledger) -> None:
    desk, heard = desk_of(ledger), Acknowledged()
    for sequence in range(1, MOST_WAITING + 3):
        await desk.take("n1", report(0, sequence, requests=1), heard)
    assert heard.said == [(0, 1), (0, MOST_WAITING + 2)]
    await desk.take("n1", report(0, 99, requests=1, class_counts=(0,) * UNKNOWN_CLASSES), heard)
    for sequence in range(100, 100 + MOST_CELLS // UNKNOWN_CLASSES):
        await desk.take("n1", report(0, sequence, requests=1, class_counts=(0,) * UNKNOWN_CLASSES), heard)
    assert len(heard.said) == 3


async def test_a_node_that_leaves_is_written_and_forgotten(ledger: Ledger) -> None:
    async with running(desk_of(ledger)) as desk:
        heard = Acknowledged()
        for sequence in (1, 2):
            await desk.take("n1", report(0, sequence, requests=1), heard)
        desk.leave("n1")
        await heard.until((0, 1), (0, 2))
    assert await counted(ledger) == (2, 0)


async def test_what_cannot_be_written_when_a_node_leaves_is_dropped_and_comes_again(ledger: Ledger) -> None:
    cut = Cut(ledger, written=False)
    cut.commits = 1
    async with running(desk_of(cut)) as desk:
        heard = Acknowledged()
        for sequence in (1, 2):
            await desk.take("n1", report(0, sequence, requests=1), heard)
        cut.commits = 0
        desk.leave("n1")
        async with asyncio.timeout(PATIENCE_S):
            await cut.refused.wait()
        again = Acknowledged()
        assert await desk.take("n1", report(0, 2, requests=1), again) is Taken.COUNTED
        await desk.write("n1")
        assert again.said == [(0, 2)]
        assert heard.said == [(0, 1)]
    assert await counted(ledger) == (2, 0)


async def test_a_document_that_cannot_be_read_stops_its_own_node_alone(ledger: Ledger) -> None:
    await ledger.commit(Change((Write(telemetry.KIND, "n1:m", {"schema": 99}, 0),)))
    async with running(desk_of(ledger, SOON_S)) as desk:
        bad, good = Acknowledged(), Acknowledged()
        with pytest.raises(Exception, match="n1:m"):
            await desk.take("n1", report(0, 1), bad)
        await desk.take("n2", report(0, 1), good)
        await desk.take("n2", report(0, 2), good)
        await good.until((0, 1), (0, 2))
    assert bad.said == []


async def test_models_that_were_never_wanted_of_a_node_are_counted_up_to_a_few(ledger: Ledger) -> None:
    wanted = DesiredModel(manifest_digest="sha256:" + "a" * 64, rollout_id="r", generation=1)
    names = [f"wanted-{n}" for n in range(20)]
    desired = Desired(models=dict.fromkeys(names, wanted))
    await ledger.commit(Change((Write("desired", "n1", dump(desired), 0),)))
    for boot in range(3):  # as many sessions, of as many coordinators
        desk, heard = desk_of(ledger), Acknowledged()
        taken = [await desk.take("n1", report(boot, 1 + n, model=f"odd-{boot}-{n}"), heard) for n in range(OTHERS)]
        assert taken == [Taken.COUNTED if boot == 0 else Taken.OVER_THE_LIMIT] * OTHERS
        assert heard.said == [(boot, 1 + n) for n in range(OTHERS)]
    assert {await desk.take("n1", report(0, 1, model=name), heard) for name in names} == {Taken.COUNTED}
    assert await desk.take("n1", report(0, 90, model="odd-0-3"), heard) is Taken.COUNTED  # it was among the few
    assert await desk.take("n2", report(0, 1, model="odd-1-0"), heard) is Taken.COUNTED
    assert len([doc for doc in await ledger.all(telemetry.KIND) if doc.id.startswith("n1:")]) == 20 + OTHERS
    await ledger.commit(Change((Write("desired", "n1", dump(Desired()), None),)))
    assert await desk_of(ledger).take("n1", report(0, 91, model=names[0]), heard) is Taken.COUNTED  # wanted once is enough


async def test_counts_by_class_must_fit_the_model(ledger: Ledger) -> None:
    await ledger.commit(Change((Write("artifact", BEST_OF_TEN.manifest_digest, dump(BEST_OF_TEN), 0),)))
    desk, heard = desk_of(ledger, 0.0), Acknowledged()

    def said(sequence: int, classes: int, digest: str = BEST_OF_TEN.manifest_digest) -> Any:
        return report(0, sequence, model=MODEL, manifest_digest=digest, class_counts=(1,) * classes)

    assert await desk.take("n1", said(1, 10), heard) is Taken.COUNTED
    for each in (desk, desk_of(ledger)):
        with pytest.raises(BadInput, match=f"telemetry.class_counts: 11 counts, {MODEL} has 10 classes"):
            await each.take("n1", said(2, 11), heard)
    nobodys = artifact("nobodys").manifest_digest
    assert await desk.take("n1", said(3, UNKNOWN_CLASSES, nobodys), heard) is Taken.COUNTED
    assert await desk.take("n1", said(4, UNKNOWN_CLASSES + 1, nobodys), heard) is Taken.COUNTED
    assert heard.said == [(0, 1), (0, 3), (0, 4)]
    doc = await ledger.get(telemetry.KIND, f"n1:{MODEL}")
    assert doc is not None
    assert doc.body["totals"]["class_counts"] == [2] * 10 + [1] * (UNKNOWN_CLASSES - 10)
