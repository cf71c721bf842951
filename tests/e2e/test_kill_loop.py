"""A handful of the faults of `python -m bench.kill_loop`: one of each kind, while a rollout and a federated round go on."""

from __future__ import annotations

from pathlib import Path

from bench.kill_loop import KINDS, loop, lost


async def test_no_fault_loses_a_rollout_or_a_run(tmp_path: Path) -> None:
    assert await loop(tmp_path, faults=len(KINDS), seed=5, agents=1) == []


def test_what_counts_as_lost() -> None:
    ended = {"a": "SUCCEEDED", "b": "FAILED no node came within 5 s: cam is offline", "c": "ROLLED_BACK cam: accuracy-drop"}
    assert lost(["a", "c"], ended) == []
    assert lost(["a", "b", "d"], ended) == ["d: never ended", "b: FAILED no node came within 5 s: cam is offline"]
    assert lost(["r"], {"r": "FAILED too-few-nodes nodes: 0 can take part, 1 are needed"}) != []
    assert lost(["r"], {"r": "ROLLED_BACK cam: no answer, after 301 s"}) != []
