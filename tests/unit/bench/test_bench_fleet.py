"""The load of bench.fleet: the real coordinator, and nodes with the agent's own session code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.fleet import growth, rollout, steady
from bench.fleet.rows import keep, kept, stamped
from bench.fleet.stage import Given
from bench.fleet.usage import slope
from bench.report import record


@pytest.mark.slow
async def test_twenty_nodes_are_measured_and_written_down(tmp_path: Path) -> None:
    given = Given(20, seconds=2.0, place=tmp_path, trained=False)
    row = await steady.measured(given)
    assert row["connected"] == 20
    assert row["reports_a_s"] > 0
    assert row["kb_per_node"] > 0
    assert row["reads_a_report"] > 0
    keep("steady", stamped(row, given, 1.0, "c0ffee"), tmp_path / "rows")
    table, figures = steady.made(kept("steady", tmp_path / "rows"))
    record("fleet", command="test", seconds=1.0, figures=figures, table=("steady", table), results=tmp_path)
    written = json.loads((tmp_path / "fleet.json").read_text())
    assert written["figures"]["coordinator_cpu_share_at_20"]["value"] == row["cpu_share"]
    assert written["tables"]["steady"]["rows"][0][0] == 20


def test_what_was_measured_at_another_number_of_nodes_stays(tmp_path: Path) -> None:
    for nodes in (2_000, 100):
        keep("rollout", stamped({"reads_an_event": nodes / 50}, Given(nodes), 1.0, "c0ffee"), tmp_path)
    assert list(kept("rollout", tmp_path)) == [100, 2_000]


def test_readings_grow_by_the_largest_fleet_over_the_smallest() -> None:
    rows = {
        nodes: {column: 1.0 for column in rollout.COLUMNS} | {"nodes": nodes, "outcome": "SUCCEEDED", "reads_an_event": reads}
        for nodes, reads in ((100, 4.0), (2_000, 6.0))
    }
    _, figures = rollout.made(rows)
    assert figures["reads_growth"].value == 1.5


def test_the_exponent_is_that_of_the_growth() -> None:
    rows = {
        nodes: {column: 1.0 for column in growth.COLUMNS} | {"nodes": nodes, "cpu_ms_an_event": nodes**0.5, "samples": [1.0]}
        for nodes in growth.NODES
    }
    _, figures = growth.made(rows)
    assert figures["growth_exponent"].value == 0.5
    assert slope([0, 1, 2], [1, 3, 5]) == 2
