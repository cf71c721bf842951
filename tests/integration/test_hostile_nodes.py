"""What one node that is let in may cost: limits hold for the node, over all its sessions, and nobody else notices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud.fleet import drift, telemetry
from cloud.fleet.allowance import LINES_AT_ONCE
from cloud.fleet.ledger import Ledger
from cloud.fleet.windows import MODELS, OTHERS
from littoral.fleet.v1 import session_pb2
from tests.kit.fleet import Fleet, open_fleet
from tests.kit.node_client import BOOT, Line

pytest_plugins = ("tests.kit.redis",)

STATES = (session_pb2.UPDATE_STATE_FAILED, session_pb2.UPDATE_STATE_ROLLED_BACK)


@pytest.fixture
async def fleet(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(ledger, tmp_path / "blobs") as opened:
        yield opened


async def flips(line: Line, words: int, models: int, *, after: int) -> None:
    """Says of every model that its update came to another state, word after word."""
    for number in range(after + 1, after + words + 1):
        model = session_pb2.ReportedModel(state=STATES[number % 2], desired_generation=1)
        await line.say(reported=session_pb2.ReportedState(generation=number, models={f"m{n}": model for n in range(models)}))


async def test_a_node_that_fills_the_audit_trail_gets_so_many_lines_and_one_more(fleet: Fleet) -> None:
    bad, good = await fleet.enrol("bad"), await fleet.enrol("good")
    async with fleet.client(bad) as hostile, fleet.client(good) as peaceful:
        bystander = await peaceful.begin()
        for session in range(3):
            line = await hostile.begin()
            await flips(line, 20, 30, after=20 * session)
            await fleet.until("reported", "bad", generation=20 * (session + 1))
        await flips(bystander, 1, 3, after=0)
        await fleet.until("reported", "good")
    await fleet.until("presence", "bad", connected=False)
    trail = [entry for entry in await fleet.ledger.audit() if entry.subject == "bad"]
    counted = [entry for entry in trail if entry.action.startswith("update.")]
    left_out = sum(int(entry.details["lines"]) for entry in trail if entry.action == "audit.left-out")
    assert len(counted) + left_out == 3 * 20 * 30
    assert LINES_AT_ONCE <= len(counted) < 3 * 20 * 30 - LINES_AT_ONCE
    assert 1 <= len(trail) - len(counted) <= 8
    assert len([entry for entry in await fleet.ledger.audit() if entry.subject == "good"]) == 3


async def test_a_node_that_invents_models_fills_nothing(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    sketch = session_pb2.InputSketch(sketch_id="s", features=2, bins=2, counts=[1, 0, 1, 0], examples=1)
    async with fleet.client(credential) as client:
        for session in range(3):
            line = await client.begin(boot_id=f"{session:032x}")
            for number in range(1, 21):
                word = session_pb2.TelemetryReport(
                    boot_id=BOOT,
                    sequence=20 * session + number,
                    model_name=f"m{session}-{number}",
                    requests=1,
                    class_counts=[0] * 9_000,
                    inputs=sketch,
                )
                await line.say(telemetry=word)
                assert (await line.hear("telemetry_ack")).sequence == word.sequence
    kept = {kind: await fleet.ledger.all(kind) for kind in (telemetry.KIND, drift.KIND, MODELS)}
    assert [len(docs) for docs in kept.values()] == [OTHERS, OTHERS, 1]
    assert {len(doc.body["totals"]["class_counts"]) for doc in kept[telemetry.KIND]} == {0}
