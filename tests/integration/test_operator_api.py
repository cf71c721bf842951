"""The operator API over a real ledger: who may do what, and what happens to bad requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks

from littoral_cloud.api.rest import guard
from littoral_cloud.api.rest.access import OPEN, needs, refuse_paths_without_role
from littoral_cloud.trust.operator_tokens import revoke_operator_token
from littoral_cloud.trust.people import Role, Scope
from tests.kit.operators import OperatorsApi, enrol, operators_api

REFUSED = {401, 403}
DRAWS = 6
GENERATE = (Phase.generate,)
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OperatorsApi]:
    async with operators_api(tmp_path / "cloud") as api:
        yield api


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


async def test_every_operation_is_refused_to_who_may_not_and_to_nobody_else(
    api: OperatorsApi, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """Generated from the OpenAPI document: no path is left out."""
    monkeypatch.setattr(guard, "STRANGER_AT_ONCE", 10_000)
    tokens = {role: await api.bearer(role) for role in Role}
    expired = {"authorization": f"Bearer {await api.token(Role.ADMIN, name='old', ttl_s=0.001)}"}
    revoked = await api.bearer(Role.ADMIN, name="revoked")
    await revoke_operator_token(api.core.ledger, "revoked", actor="test")
    document = api.app.openapi()
    cases = 0
    for method, path, operation in operations(document):
        role = operation["x-role"]
        url = path.replace("{", "").replace("}", "")
        if operation["operationId"] == "event.follow":
            url += "?kind=nothing"  # refused behind the role: a stream has no end
        for who, headers in [("nobody", {}), ("expired", expired), ("revoked", revoked), *tokens.items()]:
            answer = await api.http.request(method, url, headers=headers, json={} if method in ("POST", "PUT") else None)
            cases += 1
            api_error = answer.json()["error"]["code"] if answer.status_code in REFUSED else ""
            if role == OPEN:
                assert answer.status_code not in REFUSED, (method, path, who)
            elif not isinstance(who, Role):
                assert (answer.status_code, api_error) == (401, "not-signed-in"), (method, path, who)
            elif not who.includes(Role(role)):
                assert (answer.status_code, api_error) == (403, "denied"), (method, path, who)
            else:
                assert answer.status_code not in REFUSED, (method, path, who, answer.text)
    assert cases == 6 * len(list(operations(document)))
    record_property("authorization_cases", cases)


def test_a_path_without_a_role_does_not_start() -> None:
    app = FastAPI()

    @app.get("/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(AssertionError, match="/forgotten: names no role"):
        refuse_paths_without_role(app)


def test_a_path_without_a_role_in_a_router_of_a_router_does_not_start() -> None:
    app, outer, inner = FastAPI(), APIRouter(prefix="/api"), APIRouter(prefix="/things")

    @inner.get("/forgotten")
    async def forgotten() -> None: ...

    outer.include_router(inner)
    app.include_router(outer)
    with pytest.raises(AssertionError, match="/api/things/forgotten: names no role"):
        refuse_paths_without_role(app)


async def test_every_route_of_the_api_calls_a_use_case(api: OperatorsApi) -> None:
    found = 0
    for each in iter_route_contexts(api.app.routes):
        if isinstance(each.original_route, APIRoute) and (each.path or "").startswith("/api/"):
            found += 1
            assert (each.original_route.openapi_extra or {})["x-role"] in {OPEN, *Role}
    assert found > 20
    with pytest.raises(AttributeError):
        needs(operations)


async def test_a_scope_shows_and_changes_its_own_nodes_alone_and_the_refusal_is_in_the_trail(api: OperatorsApi) -> None:
    await enrol(api, "cam-1", site="harbour")
    await enrol(api, "cam-2", site="mill")
    mine = await api.bearer(Role.OPERATOR, name="ada", scope=Scope(labels={"site": "harbour"}))
    page = (await api.http.get("/api/v1/nodes", headers=mine)).json()
    assert [node["name"] for node in page["items"]] == ["cam-1"]
    assert (await api.http.get("/api/v1/nodes/cam-2", headers=mine)).status_code == 403
    refused = await api.http.post("/api/v1/nodes/cam-2/quarantine", headers=mine, json={"reason": "worn"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "denied")
    assert "site=harbour" in refused.json()["error"]["message"]
    done = await api.http.post("/api/v1/nodes/cam-1/quarantine", headers=mine, json={"reason": "worn"})
    assert done.json()["quarantine"]["by"] == "ada"
    lines = [(line.action, line.subject, line.actor) for line in await api.core.ledger.audit()]
    assert lines[-3:] == [
        ("access.denied", "node.show", "ada"),
        ("access.denied", "node.quarantine", "ada"),
        ("node.quarantined", "id-cam-1", "ada"),
    ]


async def test_pages_filters_and_a_cursor_of_another_list(api: OperatorsApi) -> None:
    admin = await api.bearer(Role.ADMIN)
    for number in range(5):
        await enrol(api, f"cam-{number}", site="harbour" if number % 2 else "mill")

    async def page(query: str) -> tuple[list[str], str]:
        body = (await api.http.get(f"/api/v1/nodes?{query}", headers=admin)).json()
        return [node["name"] for node in body["items"]], body["next"]

    assert await page("limit=2") == (["cam-0", "cam-1"], "nodes:cam-1")
    assert await page("limit=2&after=nodes:cam-1") == (["cam-2", "cam-3"], "nodes:cam-3")
    assert await page("limit=2&after=nodes:cam-3") == (["cam-4"], "")
    assert await page("label=site:harbour&state=offline") == (["cam-1", "cam-3"], "")
    for bad, field in (("after=rollouts:x", "after"), ("after=cam-1", "after"), ("label=site", "label"), ("limit=0", "limit")):
        answer = await api.http.get(f"/api/v1/nodes?{bad}", headers=admin)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field), answer.text


@pytest.mark.parametrize(
    "path", ["/static/../pages.py", "/static/%2e%2e/pages.py", "/static/..%2fpages.py", "/api/v1/nodes/..%2f..%2fx"]
)
async def test_a_path_with_dots_leads_nowhere(api: OperatorsApi, path: str) -> None:
    answer = await api.http.get(path, headers=await api.bearer(Role.ADMIN))
    assert answer.status_code == 404
    assert "import" not in answer.text


async def test_what_makes_something_makes_it_once_for_one_key(api: OperatorsApi) -> None:
    await enrol(api, "cam-1")
    admin, key = await api.bearer(Role.ADMIN), {"idempotency-key": "5a1f"}
    url, body = "/api/v1/nodes/cam-1/quarantine", {"reason": "worn"}
    first = await api.http.post(url, headers=admin | key, json=body)
    again = await api.http.post(url, headers=admin | key, json=body)
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    other = await api.http.post(url, headers=admin | key, json={"reason": "another"})
    assert (other.status_code, "another request" in other.text) == (422, True)
    assert (await api.http.post(url, headers=key, json=body)).status_code == 401
    # somebody else's key of the same text is another key: the node is in quarantine already
    assert (await api.http.post(url, headers=await api.bearer(Role.ADMIN, name="ben") | key, json=body)).status_code == 422
    made = await api.http.post("/api/v1/operator-tokens", headers=admin | {"idempotency-key": "b"}, json={"name": "x"})
    repeated = await api.http.post("/api/v1/operator-tokens", headers=admin | {"idempotency-key": "b"}, json={"name": "x"})
    assert (made.status_code, repeated.status_code) == (201, 409)
    documents = [doc.body for doc in await api.core.ledger.all("idempotency")]
    assert made.json()["secret"] not in str(documents)


async def test_a_key_under_way_is_refused_and_the_thing_is_made_once(api: OperatorsApi) -> None:
    admin = await api.bearer(Role.ADMIN) | {"idempotency-key": "k"}
    body = {"name": "script"}
    answers = await asyncio.gather(*(api.http.post("/api/v1/operator-tokens", headers=admin, json=body) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    made = [line for line in await api.core.ledger.audit() if line.subject == "script"]
    assert len(made) == 1


async def test_if_match_is_refused_where_it_is_not_known_or_no_etag(api: OperatorsApi) -> None:
    admin = await api.bearer(Role.ADMIN)
    answer = await api.http.get("/api/v1/nodes", headers=admin | {"if-match": '"1"'})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "If-Match")
    answer = await api.http.post("/api/v1/rollouts/x/pause", headers=admin | {"if-match": "one"})
    assert answer.status_code == 422
    assert (await api.http.post("/api/v1/rollouts/x/pause", headers=admin | {"if-match": '"1"'})).status_code == 404


async def test_a_browser_s_request_needs_its_form_s_secret(api: OperatorsApi) -> None:
    await enrol(api, "cam-1")
    signed = await api.http.post("/sign-in", data={"token": await api.token(Role.OPERATOR)})
    assert signed.status_code == 303
    cookie = signed.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=strict", "__Host-"))
    assert (await api.http.get("/api/v1/whoami")).json()["role"] == "operator"
    url, body = "/api/v1/nodes/cam-1/quarantine", {"reason": "worn"}
    for headers in ({}, {"x-littoral-form": ""}, {"x-littoral-form": "guess"}):
        refused = await api.http.post(url, json=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "denied")


def drawn_from(operation: Any) -> list[Any]:
    cases: list[Any] = []

    @settings(
        max_examples=DRAWS, database=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=(Phase.generate,)
    )
    @given(case=operation.as_strategy())
    def draw(case: Any) -> None:
        cases.append(case)

    draw()
    return cases


@pytest.mark.filterwarnings("ignore")  # of schemathesis
async def test_no_answer_breaks_the_openapi_document(api: OperatorsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """schemathesis draws requests from the document: none fails with a 5xx, and each answer is as the document says."""
    monkeypatch.setattr(guard, "STRANGER_AT_ONCE", 10_000)  # each operation has a token of its own
    await enrol(api, "cam-1", site="harbour")
    document = api.app.openapi()
    del document["paths"]["/api/v1/events"]  # has no end
    asked = 0
    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        admin = await api.bearer(Role.ADMIN, name=f"admin-{asked}")  # the one before may have been revoked by a drawn request
        for case in await asyncio.to_thread(drawn_from, result.ok()):
            request = case.as_transport_kwargs(base_url="https://fleet.example", headers=admin)
            known = {key: request[key] for key in ("method", "url", "headers", "params", "json", "content") if key in request}
            if isinstance(data := request.get("data"), bytes):
                known["content"] = data
            answer = await api.http.request(**known)
            asked += 1
            if answer.status_code == 503:  # no coordinator listens for nodes here
                assert "no coordinator runs" in answer.json()["error"]["message"]
                continue
            case.validate_response(answer, checks=CHECKS)
    assert asked >= 50


async def test_failed_sign_ins_and_refused_pages_are_in_the_trail(api: OperatorsApi) -> None:
    assert (await api.http.post("/sign-in", data={"token": "litt_guess"})).status_code == 401
    assert (await api.http.get("/enter?code=guess")).status_code == 401
    await api.http.post("/sign-in", data={"token": await api.token(Role.VIEWER, name="vi")})
    assert (await api.http.get("/enrol")).status_code == 403
    lines = [(line.subject, line.actor) for line in await api.core.ledger.audit() if line.action == "access.denied"]
    assert lines[:2] == [("session.sign-in", "192.0.2.7")] * 2
    assert [actor for _, actor in lines[2:]] == ["vi"]
