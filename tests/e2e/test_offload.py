"""Offload with real processes: a node that is not sure asks the teacher that its student learnt from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from littoral_cloud.data.sources import load_mnist
from tests.kit.whole import Fleet, ask

pytest_plugins = ("tests.kit.whole_fixture",)

ALWAYS = ("--offload", "digits=100%", "--offload-deadline", "20s", "--offload-per-minute", "1000")


def request_of(x: np.ndarray) -> dict:
    tensor = {"name": "input", "shape": [len(x), 1, 28, 28], "datatype": "UINT8", "data": x.reshape(-1).tolist()}
    return {"inputs": [tensor]}


@pytest.mark.slow
@pytest.mark.timeout(600)  # every part is a process that imports much: on a busy machine that takes minutes
async def test_a_node_that_is_not_sure_gives_the_teachers_answer_and_both_are_kept(tmp_path: Path, images: Path) -> None:
    fleet = Fleet(tmp_path)
    try:
        await fleet.start_coordinator("--answer-escalations")
        await fleet.join("asks", *ALWAYS)
        await fleet.cloud("train", "--data", str(images), "--model", "digits", "--recipe", "tiny", "--rollout")
        await fleet.cloud("rollout", "watch", "digits-1-r1")
        body = request_of(load_mnist().test_x[:3])
        url = f"{fleet.nodes['asks'][1]}/v2/models/digits/infer"
        # The teacher's process began with the coordinator: the first question is answered.
        joined = (await ask(url, body)).json()
        assert joined["parameters"] == {"answered_by": "cloud"}
        logits = np.array(joined["outputs"][0]["data"]).reshape(3, 10)
        assert joined["outputs"][1]["data"] == logits.argmax(axis=1).tolist()

        samples = json.loads(await fleet.cloud("sample", "list", "--model", "digits", "--format", "json"))
        samples = [sample for sample in samples if sample["at"] >= samples[-1]["at"]]  # those of the last question
        assert len(samples) == 3
        assert {(sample["node"], sample["model"], sample["manifest"]) for sample in samples} == {
            ("asks", "digits", joined["model_version"])
        }
        assert [sample["teacher_class"] for sample in samples] == [str(label) for label in joined["outputs"][1]["data"]]
        assert not any("input" in sample for sample in samples)
        *_, kept = [json.loads(line) for line in (tmp_path / "asks" / "samples.jsonl").read_text().splitlines()]
        assert kept["teacher_class"] == joined["outputs"][1]["data"]
        assert len(kept["confidence"]) == 3
        assert "inputs" not in kept
        assert np.allclose(kept["teacher_logits"], logits, atol=1e-3)
        metrics = (await ask(f"{fleet.nodes['asks'][1]}/metrics")).text
        assert 'littoral_offload_answered_total{model="digits"} 1.0' in metrics
        assert fleet.coordinator is not None
        maps = Path(f"/proc/{fleet.coordinator.pid}/maps").read_text()
        assert "libtorch" not in maps  # the coordinator itself holds none of it

        await fleet.kill_coordinator()  # and with it the teacher
        alone = (await ask(url, body)).json()
        assert alone["parameters"]["answered_by"] == "node"
        assert alone["parameters"]["offload"] in ("cloud-away", "deadline")
        own = np.array(alone["outputs"][0]["data"]).reshape(3, 10)
        assert np.allclose(kept["node_logits"], own, atol=1e-3)
        assert not np.allclose(own, logits, atol=1e-3)
    finally:
        await fleet.end()
