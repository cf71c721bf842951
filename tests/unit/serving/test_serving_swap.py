"""A swap under load: no request is dropped, each is answered whole by one model."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from littoral.errors import RuntimeFailure
from tests.kit.models import HERE, images, logits_of, weights
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import MODEL, Node, open_node, request_of, served

SWAPS, CLIENTS = 50, 8


@pytest.mark.parametrize("runtime", HERE)
async def test_fifty_swaps_under_load_drop_nothing(runtime: str, tmp_path: Path) -> None:
    x = images(2)
    wanted = {f"seed-{seed}": logits_of(x, weights(seed)) for seed in (0, 1)}
    made = [served(tmp_path / "0", runtime, seed=0)]
    answers: dict[str, int] = dict.fromkeys(wanted, 0)
    grew, stop = asyncio.Condition(), asyncio.Event()

    async def hammer(node: Node) -> None:
        while not stop.is_set():
            answer = await node.infer(request_of(x))
            assert answer.status_code == 200, answer.text
            body = answer.json()
            logits = np.reshape(body["outputs"][0]["data"], (2, -1))
            np.testing.assert_allclose(logits, wanted[body["model_version"]], atol=1e-4)
            async with grew:
                answers[body["model_version"]] += 1
                grew.notify_all()

    async with open_node(made[0]) as node, asyncio.TaskGroup() as tasks:
        clients = [tasks.create_task(hammer(node)) for _ in range(CLIENTS)]
        for swap in range(1, SWAPS + 1):
            version = f"seed-{swap % 2}"
            before = answers[version]
            made.append(served(tmp_path / str(swap % 2), runtime, seed=swap % 2))
            node.slots.swap(MODEL, made[-1])
            async with asyncio.timeout(PATIENCE_S), grew:
                await grew.wait_for(lambda version=version, before=before: answers[version] > before)  # type: ignore[misc]
        stop.set()
        await asyncio.wait(clients)
        counts = node.telemetry.counts(MODEL)
        assert counts.failed == 0
        assert counts.requests == sum(answers.values()) >= SWAPS
        for old in made[:-1]:
            with pytest.raises(RuntimeFailure, match="closed"):
                old.model.infer(x.astype(np.float32))
