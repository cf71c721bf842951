"""Whose held-out examples say whether a run's result is worse than its base."""

from __future__ import annotations

import pytest

from littoral_cloud.federation.evaluation import by_nodes, judgement
from tests.kit.federation import finished, small_run

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("accuracies", "base", "result", "worse", "said"),
    [
        ((), 0.95, 0.94, True, "0.9400 of the test split"),
        ((0.6,), 0.95, 0.94, True, "worse than its base"),  # nothing was judged after the only round
        ((0.6,), 0.95, 0.95, False, ""),
        ((None, None), 0.95, 0.94, True, "worse than its base"),
        ((0.6, 0.7, 0.8), 0.95, 0.90, False, "went from 0.6000 to 0.8000"),  # the nodes see something else than the cloud
        ((0.6, 0.7, 0.8), 0.95, 0.96, False, ""),
        ((0.6, 0.7, 0.5), 0.95, 0.96, True, "worse than its base: on the nodes' held-out examples"),
        ((0.6, 0.6), 0.95, 0.94, True, "worse than its base"),
    ],
)
def test_nodes_are_heard_before_the_clouds_own_test_split(
    accuracies: tuple[float | None, ...], base: float, result: float, worse: bool, said: str
) -> None:
    found = judgement(small_run("r", DIGEST, finished=finished(*accuracies)), base, result)
    assert (found.worse, bool(found.remark)) == (worse, bool(said))
    assert said in found.remark


def test_means_over_other_nodes_are_not_compared() -> None:
    rounds = (*finished(0.6, nodes=("a", "b", "c")), *finished(0.9, nodes=("a", "d", "e")))
    assert by_nodes(small_run("r", DIGEST, finished=rounds)) is None
    rounds = (*finished(0.6, nodes=("a", "b", "c")), *finished(0.9, nodes=("a", "b")))
    assert by_nodes(small_run("r", DIGEST, finished=rounds)) == (0.6, 0.9)
