"""A window is in the totals and in drift, or in neither; and what a node may report is bounded for the node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from littoral.errors import BadInput, Unavailable
from littoral.sketch import Counted
from littoral_cloud.fleet import drift, telemetry
from littoral_cloud.fleet.ledger import Change, Fence, Ledger, Write
from littoral_cloud.fleet.records import Desired, DesiredModel, dump
from littoral_cloud.fleet.windows import OTHERS, UNKNOWN_CLASSES, Taken, take
from tests.kit.rollout_world import MODEL, artifact
from tests.unit.fleet.test_telemetry_totals import report

pytest_plugins = ("tests.kit.redis",)

BEST_OF_TEN = artifact("best", class_accuracy={str(n): 0.9 for n in range(10)})


def inputs(examples: int = 64) -> Counted:
    counts = np.zeros((2, 4), np.uint32)
    counts[:, 0] = examples
    return Counted("s", counts, examples)


async def counted(ledger: Ledger, model: str = "m") -> tuple[int, int]:
    """(requests in the totals, examples in drift's baseline)"""
    total, known = await ledger.get(telemetry.KIND, f"n1:{model}"), await ledger.get(drift.KIND, f"n1:{model}")
    return total.body["totals"]["requests"] if total else 0, known.body["baseline_examples"] if known else 0


class Cut:
    """A ledger whose next commit is lost: before it is written, or after."""

    def __init__(self, ledger: Ledger, *, written: bool) -> None:
        self._ledger = ledger
        self._written = written
        self.commits = 0

    async def commit(self, change: Change, *, fence: Fence | None = None) -> object:
        self.commits += 1
        if self.commits == 1:
            if self._written:
                await self._ledger.commit(change, fence=fence)
            raise Unavailable("redis: the answer was lost")
        return await self._ledger.commit(change, fence=fence)

    def __getattr__(self, name: str) -> object:
        return getattr(self._ledger, name)


@pytest.mark.parametrize("written", [True, False])
async def test_a_window_whose_answer_was_lost_is_in_both_once(ledger: Ledger, written: bool) -> None:
    cut: Any = Cut(ledger, written=written)
    said = report(0, 1, requests=64, inputs=inputs())
    with pytest.raises(Unavailable):
        await take(cut, "n1", said, 1.0)
    assert await counted(ledger) == ((64, 64) if written else (0, 0))  # never one alone, whoever dies now
    assert await take(cut, "n1", said, 2.0) is (Taken.REPEATED if written else Taken.COUNTED)
    assert await counted(ledger) == (64, 64)
    assert await take(cut, "n1", report(0, 2, requests=8, inputs=inputs(8)), 3.0) is Taken.COUNTED
    assert await counted(ledger) == (72, 72)


async def test_a_window_without_inputs_is_counted_alone(ledger: Ledger) -> None:
    assert await take(ledger, "n1", report(0, 1, requests=5), 1.0) is Taken.COUNTED
    assert await counted(ledger) == (5, 0)


async def test_a_baseline_that_begins_anew_in_between_is_kept(ledger: Ledger) -> None:
    await take(ledger, "n1", report(0, 1, requests=64, inputs=inputs()), 1.0)

    class Rebaselined(Cut):
        async def commit(self, change: Change, *, fence: Fence | None = None) -> object:
            self.commits += 1
            if self.commits == 1:
                await drift.rebaseline(ledger, ["n1"], "m", 2.0)
            return await self._ledger.commit(change, fence=fence)

    between: Any = Rebaselined(ledger, written=False)
    assert await take(between, "n1", report(0, 2, requests=8, inputs=inputs(8)), 3.0) is Taken.COUNTED
    assert await counted(ledger) == (72, 8)


async def test_models_that_were_never_wanted_of_a_node_are_counted_up_to_a_few(ledger: Ledger) -> None:
    wanted = DesiredModel(manifest_digest="sha256:" + "a" * 64, rollout_id="r", generation=1)
    names = [f"wanted-{n}" for n in range(20)]
    desired = Desired(models=dict.fromkeys(names, wanted))
    await ledger.commit(Change((Write("desired", "n1", dump(desired), 0),)))
    for boot in range(3):  # as many sessions
        taken = [await take(ledger, "n1", report(boot, 1, model=f"odd-{boot}-{n}"), 1.0) for n in range(OTHERS)]
        assert taken == [Taken.COUNTED if boot == 0 else Taken.OVER_THE_LIMIT] * OTHERS
    assert {await take(ledger, "n1", report(0, 1, model=name), 1.0) for name in names} == {Taken.COUNTED}
    assert await take(ledger, "n1", report(0, 2, model="odd-0-3"), 1.0) is Taken.COUNTED  # it was among the few
    assert await take(ledger, "n2", report(0, 1, model="odd-1-0"), 1.0) is Taken.COUNTED
    assert len([doc for doc in await ledger.all(telemetry.KIND) if doc.id.startswith("n1:")]) == 20 + OTHERS
    await ledger.commit(Change((Write("desired", "n1", dump(Desired()), None),)))
    assert await take(ledger, "n1", report(0, 2, model=names[0]), 1.0) is Taken.COUNTED  # wanted once is enough


async def test_counts_by_class_must_fit_the_model(ledger: Ledger) -> None:
    await ledger.commit(Change((Write("artifact", BEST_OF_TEN.manifest_digest, dump(BEST_OF_TEN), 0),)))
    known: dict[str, int] = {}

    def said(sequence: int, classes: int, digest: str = BEST_OF_TEN.manifest_digest) -> Any:
        return report(0, sequence, model=MODEL, manifest_digest=digest, class_counts=(1,) * classes)

    assert await take(ledger, "n1", said(1, 10), 1.0, classes=known) is Taken.COUNTED
    for cache in (known, {}):
        with pytest.raises(BadInput, match=f"telemetry.class_counts: 11 counts, {MODEL} has 10 classes"):
            await take(ledger, "n1", said(2, 11), 1.0, classes=cache)
    assert known == {BEST_OF_TEN.manifest_digest: 10}
    nobodys = artifact("nobodys").manifest_digest
    assert await take(ledger, "n1", said(3, UNKNOWN_CLASSES, nobodys), 1.0) is Taken.COUNTED
    assert await take(ledger, "n1", said(4, UNKNOWN_CLASSES + 1, nobodys), 1.0) is Taken.COUNTED
    doc = await ledger.get(telemetry.KIND, f"n1:{MODEL}")
    assert doc is not None
    assert doc.body["totals"]["class_counts"] == [2] * 10 + [1] * (UNKNOWN_CLASSES - 10)
