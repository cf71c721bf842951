"""What Prometheus scrapes, read back by its own parser, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from littoral.exposition import CONTENT_TYPE
from tests.kit.models import images
from tests.kit.serving import MODEL, Node, open_node, request_of, served


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(served(tmp_path)) as running:
        yield running


async def scraped(node: Node) -> Mapping[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = await node.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == CONTENT_TYPE
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


async def test_requests_and_their_time_are_counted_by_model(node: Node) -> None:
    before = await scraped(node)
    assert not any(name.startswith("littoral_inference") for name, _ in before)
    for _ in range(3):
        assert (await node.infer(request_of(images(2)))).status_code == 200
    assert (await node.infer({"inputs": []})).status_code == 400  # it says nothing about the model
    found = await scraped(node)
    of = (("model", MODEL),)
    assert found["littoral_inference_requests_total", of] == 3
    assert found["littoral_inference_failures_total", of] == 0
    assert found["littoral_inference_duration_seconds_count", of] == 3
    assert 0 < found["littoral_inference_duration_seconds_sum", of] < 10
    buckets = [value for (name, _), value in found.items() if name == "littoral_inference_duration_seconds_bucket"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 3
    assert found["process_memory_usage_bytes", ()] > 1_000_000
    assert found["process_cpu_time_seconds_total", ()] > 0


async def test_it_says_which_student_is_served(node: Node) -> None:
    found = await scraped(node)
    [labels] = [dict(labels) for name, labels in found if name == "littoral_model_info"]
    assert labels == {"model": MODEL, "student": "linear-0", "runtime": "onnxruntime", "digest": "seed-0"}


async def test_no_series_is_there_twice(node: Node) -> None:
    await node.infer(request_of(images(1)))
    text = (await node.client.get("/metrics")).text
    lines = [line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines))
    assert "_created" not in text
