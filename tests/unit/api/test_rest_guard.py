"""What stands in front of every path: rates, sizes, ids."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI, Request

from littoral_cloud.api.rest.access import ACCEPTED
from littoral_cloud.api.rest.failures import add_failures
from littoral_cloud.api.rest.guard import AT_ONCE, MOST_BODY, STRANGER_AT_ONCE, Guard

GOOD = {"authorization": "Bearer good"}


class Hands:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def http(clock: Hands) -> httpx.AsyncClient:
    app = FastAPI()
    add_failures(app)

    @app.post("/echo")
    async def echo(request: Request) -> int:
        if request.headers.get("authorization") == "Bearer good":
            request.scope[ACCEPTED] = True
        return len(await request.body())

    transport = httpx.ASGITransport(app=Guard(app, clock), client=("192.0.2.7", 1))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_who_asks_too_often_waits_and_a_token_that_is_known_goes_on(http: httpx.AsyncClient, clock: Hands) -> None:
    assert (await http.post("/echo", headers=GOOD)).status_code == 200
    answers = [await http.post("/echo", headers={"authorization": f"Bearer guess-{n}"}) for n in range(STRANGER_AT_ONCE)]
    assert [answer.status_code for answer in answers] == [200] * (STRANGER_AT_ONCE - 1) + [429]
    refused = answers[-1]
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["code"] == "too-often"
    assert [(await http.post("/echo", headers=GOOD)).status_code for _ in range(AT_ONCE)] == [200] * AT_ONCE
    assert (await http.post("/echo", headers=GOOD)).status_code == 429
    clock.now += 1.0
    assert (await http.post("/echo", headers=GOOD)).status_code == 200
    assert (await http.post("/echo")).status_code == 200


@pytest.mark.parametrize("length_is_known", [True, False])
async def test_a_body_of_fifty_megabytes_is_refused_and_not_read(http: httpx.AsyncClient, length_is_known: bool) -> None:
    sent = 0

    async def parts() -> object:
        nonlocal sent
        for _ in range(800):
            sent += 65_536
            yield b"x" * 65_536

    headers = {"content-length": str(800 * 65_536)} if length_is_known else {}
    answer = await http.post("/echo", content=parts(), headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too-large")
    assert "/api/v1/uploads" in answer.text or str(MOST_BODY // 1_000_000) in answer.text
    assert sent <= MOST_BODY + 2 * 65_536


async def test_an_answer_has_the_id_that_the_caller_gave_or_a_new_one(http: httpx.AsyncClient) -> None:
    assert (await http.post("/echo", headers={"x-request-id": "mine-1"})).headers["x-request-id"] == "mine-1"
    new = (await http.post("/echo", headers={"x-request-id": "<script>"})).headers["x-request-id"]
    assert len(new) == 16
