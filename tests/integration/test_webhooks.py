"""Webhooks against a real receiver, which checks each signature with the library of the specification."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Receiver

from littoral_cloud.fleet.ledger import Audit, AuditEntry, Change, until
from littoral_cloud.trust.people import Role
from littoral_cloud.webhooks import queue
from littoral_cloud.webhooks.records import PROGRESS
from littoral_cloud.webhooks.sender import WebhookSender
from tests.kit.operators import OperatorsApi, operators_api
from tests.kit.patience import PATIENCE_S


class Receiving:
    """`answers`: the statuses of the next requests; 200 when none is left. `seen`: every request, headers and JSON."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.seen: list[tuple[dict[str, str], dict[str, Any], bytes]] = []
        self.came = asyncio.Condition()
        self.url = ""

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S), self.came:
            await self.came.wait_for(lambda: len(self.seen) >= count)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                status = self.answers.pop(0) if self.answers else 200
                writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\nlocation: http://127.0.0.1:1/\r\n\r\n".encode())
                await writer.drain()
                async with self.came:
                    self.seen.append((headers, json.loads(body), body))
                    self.came.notify_all()
        except asyncio.IncompleteReadError:
            writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiving]:
    made = Receiving()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server:
        yield made


@asynccontextmanager
async def sending(api: OperatorsApi) -> AsyncIterator[None]:
    sender = asyncio.create_task(WebhookSender(api.core.ledger, api.core.clock, random.Random(1)).run())
    try:
        yield
    finally:
        sender.cancel()
        await asyncio.wait({sender})


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OperatorsApi]:
    monkeypatch.setattr(queue, "BACKOFF", queue.Backoff(0.02, 0.1))
    async with operators_api(tmp_path / "cloud") as api:
        api.http.headers.update(await api.bearer(Role.ADMIN))
        yield api


async def happened(api: OperatorsApi, *events: tuple[str, str]) -> None:
    lines = tuple(Audit(action, subject, "ada", {"why": "<b>"}) for action, subject in events)
    await api.core.ledger.commit(Change((), lines))


async def test_events_arrive_signed_once_and_in_the_order_of_their_subject(api: OperatorsApi) -> None:
    async with receiving() as there, sending(api):
        there.answers = [503, 302]
        await happened(api, ("rollout.started", "before"))
        made = (await api.http.put("/api/v1/webhooks/ops", json={"url": there.url})).json()
        secret = made["secret"]
        of_r1 = ("rollout.started", "rollout.wave-started", "rollout.succeeded")
        await happened(api, ("token.created", "t"), *((action, "r1") for action in of_r1))
        await there.until(5)
        for headers, _, body in there.seen:
            assert Receiver(secret).verify(body, headers)
        told = [(event["type"], event["data"]["subject"]) for _, event, _ in there.seen]
        assert told == [(action, "r1") for action in (of_r1[0], of_r1[0], *of_r1)]
        assert len({headers["webhook-id"] for headers, _, _ in there.seen}) == 3
        assert there.seen[0][1]["data"]["details"] == {"why": "<b>"}

        async def delivered() -> dict[str, Any] | None:
            shown: dict[str, Any] = (await api.http.get("/api/v1/webhooks")).json()["items"][0]
            return shown if shown["delivered"] >= 3 else None

        shown = await until(api.core.ledger, (PROGRESS,), delivered, seconds=PATIENCE_S, what="three events to be delivered")
        assert (shown["answer"], shown["failing_since"], shown["given_up"]) == ("200", None, 0)
        assert secret not in (await api.http.get("/api/v1/webhooks")).text
        again = (await api.http.put("/api/v1/webhooks/ops", json={"url": there.url, "events": ["run.*"]})).json()
        assert again["secret"] is None


async def test_a_receiver_that_is_down_delays_no_other_and_gets_what_it_missed_after_a_restart(api: OperatorsApi) -> None:
    async with receiving() as down, receiving() as up:
        down.answers = [500] * 10_000
        for name, there in (("down", down), ("up", up)):
            assert (await api.http.put(f"/api/v1/webhooks/{name}", json={"url": there.url})).status_code == 200
        async with sending(api):
            await happened(api, *(("node.enrolled", f"n{number}") for number in range(5)))
            await up.until(5)
            await down.until(5)
        down.answers, seen = [], len(down.seen)
        async with sending(api):  # another coordinator, which knows what the ledger has
            await down.until(seen + 5)
        assert {event["data"]["subject"] for _, event, _ in down.seen[seen:]} == {f"n{number}" for number in range(5)}


async def test_an_event_of_yesterday_is_given_up_and_the_trail_says_so(
    api: OperatorsApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "GIVE_UP_S", 0.0)
    async with receiving() as there, sending(api):
        there.answers = [500]
        await api.http.put("/api/v1/webhooks/ops", json={"url": there.url})
        await happened(api, ("node.enrolled", "n1"))
        await there.until(1)

        async def given_up() -> AuditEntry | None:
            return next((line for line in await api.core.ledger.audit() if line.action == "webhook.gave-up"), None)

        lost = await until(api.core.ledger, ("audit",), given_up, seconds=PATIENCE_S, what="the event to be given up")
        assert (lost.subject, lost.details["of"], lost.details["answer"]) == ("ops", "n1", "500")
        await happened(api, ("node.enrolled", "n2"))
        await there.until(2)
        assert there.seen[-1][1]["data"]["subject"] == "n2"


async def test_try_says_what_came_back(api: OperatorsApi) -> None:
    async with receiving() as there:
        await api.http.put("/api/v1/webhooks/ops", json={"url": there.url})
        assert (await api.http.post("/api/v1/webhooks/ops/try")).json() == {"name": "ops", "answer": "200", "delivered": True}
        there.answers = [404]
        assert (await api.http.post("/api/v1/webhooks/ops/try")).json()["delivered"] is False
        assert there.seen[0][1]["type"] == "webhook.tried"
    gone = (await api.http.post("/api/v1/webhooks/ops/try")).json()
    assert gone["answer"].startswith("ConnectError")
    assert (await api.http.post("/api/v1/webhooks/nothing/try")).status_code == 404
    assert (await api.http.delete("/api/v1/webhooks/ops")).status_code == 204
    assert (await api.http.get("/api/v1/webhooks")).json()["items"] == []
