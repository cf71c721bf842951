"""/healthz, /readyz and /metrics of a running coordinator, over TLS, as a load balancer and Prometheus ask them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import secrets
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from littoral_cloud.api.rest import access
from littoral_cloud.health import readiness
from littoral_cloud.health.metric_table import METRICS
from littoral_cloud.trust.operator_tokens import create_operator_token
from littoral_cloud.trust.people import Role, Scope
from tests.kit.cloud import Cloud, running_cloud
from tests.kit.patience import PATIENCE_S


@asynccontextmanager
async def asking(cloud: Cloud) -> AsyncIterator[httpx.AsyncClient]:
    authority = ssl.create_default_context(cadata=cloud.core.trust.ca.pem.decode())
    async with httpx.AsyncClient(base_url=f"https://{cloud.serving.api}", verify=authority, trust_env=False) as client:
        yield client


async def until(client: httpx.AsyncClient, status: int) -> httpx.Response:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if (answer := await client.get("/readyz")).status_code == status:
                return answer
            await asyncio.sleep(0.05)


async def token_of(cloud: Cloud, role: Role, scope: Scope = Scope()) -> dict[str, str]:  # noqa: B008 - frozen
    core = cloud.core
    secret, _ = await create_operator_token(
        core.ledger, role.value, role, scope, 600.0, core.clock(), secrets.token_urlsafe, actor="test"
    )
    return {"authorization": f"Bearer {secret}"}


async def test_a_coordinator_is_ready_says_what_is_not_and_is_ready_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "LOOK_S", 0.1)
    monkeypatch.setattr(readiness, "AGAIN_S", 0.1)
    monkeypatch.setattr(readiness, "CHECK_S", 0.3)
    monkeypatch.setattr(access, "LEDGER_S", 0.3)
    async with running_cloud(tmp_path) as cloud, asking(cloud) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await until(client, 200)).json()["ready"] is True
        viewer = await token_of(cloud, Role.VIEWER)
        assert (await client.get("/metrics", headers=viewer)).status_code == 200
        redis = int((tmp_path / "redis" / "redis.pid").read_text())
        os.kill(redis, signal.SIGSTOP)
        try:
            answer = await until(client, 503)
            bad = {part["part"]: part["why"] for part in answer.json()["parts"] if not part["ready"]}
            assert bad["redis"] == "no answer within 0.3 s"
            assert str(tmp_path) not in answer.text
            scraped = await client.get("/metrics", headers=viewer)
            assert scraped.status_code == 200, "now above all"
            assert 'littoral_coordinator_ready{part="redis"} 0.0' in scraped.text
            assert (await client.get("/metrics", headers={"authorization": "Bearer litt_unknown"})).status_code == 503
            assert (await client.get("/healthz")).status_code == 200, "nothing restarts a process for its Redis"
        finally:
            os.kill(redis, signal.SIGCONT)
        await until(client, 200)


async def test_prometheus_reads_the_metrics_with_a_token_of_a_viewer_for_the_whole_fleet(
    tmp_path: Path,
) -> None:
    async with running_cloud(tmp_path) as cloud, asking(cloud) as client:
        await until(client, 200)
        assert (await client.get("/metrics")).status_code == 401
        part = await token_of(cloud, Role.VIEWER, Scope(labels={"site": "north"}))
        refused = await client.get("/metrics", headers=part)
        assert refused.status_code == 403
        assert "sees a part of the fleet: site=north" in refused.json()["error"]["message"]
        viewer = await token_of(cloud, Role.VIEWER)
        await client.get("/api/v1/nodes/nobody", headers=viewer | {"x-request-id": "mine-1"})
        await client.request("BREW", f"/{secrets.token_hex(4)}")
        answer = await client.get("/metrics", headers=viewer)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }
        series = {name for name, *_ in samples}
        assert {spec.name for spec in METRICS if spec.kind == "Gauge" and not spec.labels} <= series
        assert samples["littoral_coordinator_ready", ("part", "redis")] == 1
        commits = [value for (name, *_), value in samples.items() if name == "littoral_commit_duration_seconds_count"]
        assert sum(commits) > 0
        count = "http_server_request_duration_seconds_count"
        get = ("http_request_method", "GET")
        node = ("http_route", "/api/v1/nodes/{node}")
        print(sorted(each for each in samples if each[0] == count))
        assert samples[count, get, ("http_response_status_code", "404"), node] == 1
        other = [labels for name, *labels in samples if name == count and ("http_request_method", "_OTHER") in labels]
        assert [dict(labels)["http_route"] for labels in other] == [""]


async def test_a_request_has_one_id_in_its_answer_its_error_and_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from littoral_cloud.commands import nodes
    from littoral_cloud.logs.lines import JsonLogLines

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(nodes, "show", broken)
    lines: list[str] = []

    class Written(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Written()
    handler.setFormatter(JsonLogLines())
    logging.getLogger().addHandler(handler)
    try:
        async with running_cloud(tmp_path) as cloud, asking(cloud) as client:
            viewer = await token_of(cloud, Role.VIEWER)
            refused = await client.get("/api/v1/nodes", headers={"x-request-id": "mine-1"})
            assert refused.headers["x-request-id"] == "mine-1" == refused.json()["error"]["request_id"]
            failed = await client.get("/api/v1/nodes/n1", headers=viewer)
            assert failed.status_code == 500
            id = failed.headers["x-request-id"]
            assert re.fullmatch("[0-9a-f]{16}", id)
            assert failed.json()["error"]["request_id"] == id
            assert "a fault of ours" not in failed.text
    finally:
        logging.getLogger().removeHandler(handler)
    [logged] = [line for each in lines if "a fault of ours" in (line := json.loads(each)).get("exception", "")]
    assert logged["request_id"] == id
