"""Sign-in through a real OpenID provider, which runs in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path

import httpx
import pytest

from littoral.errors import BadInput
from littoral_cloud.settings import CloudSettings
from littoral_cloud.trust.groups import parse_roles, role_in
from littoral_cloud.trust.people import Role
from littoral_cloud.web.provider import provider_of
from tests.kit import identity_provider
from tests.kit.identity_provider import PASSWORD, SECRET
from tests.kit.operators import OperatorsApi, operators_api
from tests.kit.patience import PATIENCE_S
from tests.kit.ports import lasting_port

URL = "https://fleet.example"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of authlib, about httpx


CLAIMS = {
    "ada": {"sub": "ada", "preferred_username": "ada", "groups": ["fleet-operators", "all"]},
    "eve": {"sub": "eve", "preferred_username": "eve", "groups": ["all"]},
}


def simple_provider(port: int) -> list[str]:
    """A small provider from PyPI, without passwords."""
    claims = [word for each in CLAIMS.values() for word in ("--user-claims", json.dumps(each))]
    return [sys.executable, "-m", "oidc_provider_mock", "--require-nonce", "true", "--port", str(port), *claims]


def canaille(port: int) -> list[str]:
    """An identity provider that organisations run; `make check-provider` installs it, in an environment of its own."""
    if not (python := os.environ.get("PROVIDER_PYTHON")):
        pytest.skip("PROVIDER_PYTHON is not set: make check-provider")
    return [python, str(Path(identity_provider.__file__)), str(port), f"{URL}/sign-in/provider/done"]


@asynccontextmanager
async def running(command: list[str], port: int) -> AsyncIterator[str]:
    """Gives the issuer."""
    quiet = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
    process = await asyncio.create_subprocess_exec(*command, **quiet)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                assert process.returncode is None, "the provider ended"
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.05)
        writer.close()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def at_the_provider(url: str, person: str) -> str:
    """What a person does there: name, password; gives where the provider sends the browser then."""
    async with httpx.AsyncClient(follow_redirects=False) as browser:
        for _ in range(10):
            answer = await browser.get(url)
            while answer.is_redirect:
                url = str(answer.url.join(answer.headers["location"]))
                if url.startswith(URL):
                    return url
                answer = await browser.get(url)
            form = dict(re.findall(r'<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"', answer.text))
            form = {name: unescape(value) for name, value in form.items()}
            if 'name="sub"' in answer.text:
                form = {"sub": person}
            else:
                form |= {"login": person} if 'name="login"' in answer.text else {"password": PASSWORD}
            answer = await browser.post(str(answer.url), data=form)
            assert answer.is_redirect, answer.text[:2000]
            url = str(answer.url.join(answer.headers["location"]))
            if url.startswith(URL):
                return url
    raise AssertionError("the provider never sent the browser back")


async def sign_in(api: OperatorsApi, person: str) -> httpx.Response:
    begun = await api.http.get("/sign-in/provider")
    assert begun.status_code == 302, begun.text
    back = await at_the_provider(begun.headers["location"], person)
    return await api.http.get(back.removeprefix(URL))


@pytest.mark.parametrize("provider", [simple_provider, canaille])
async def test_a_person_signs_in_with_the_role_of_a_group_and_one_without_is_refused(
    tmp_path: Path, provider: Callable[[int], list[str]]
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    port = lasting_port()
    async with running(provider(port), port) as issuer:
        options = {
            "public_url": URL,
            "oidc_issuer": issuer,
            "oidc_client_id": "littoral",
            "oidc_client_secret_file": tmp_path / "secret",
            "oidc_roles": ("fleet-operators=operator",),
        }
        async with operators_api(tmp_path / "cloud", **options) as api:
            signed = await sign_in(api, "ada")
            assert signed.status_code == 200, signed.text
            who = (await api.http.get("/api/v1/whoami")).json()
            assert (who["name"], who["role"]) == ("ada", "operator")
            again = await api.http.get(str(signed.request.url).removeprefix(URL))
            assert (again.status_code, again.headers["location"]) == (303, "/sign-in")  # a code works once
            api.http.cookies.clear()
            refused = await sign_in(api, "eve")
            assert refused.status_code == 403
            assert (await api.http.get("/api/v1/whoami")).status_code == 401
            forged = await api.http.get("/sign-in/provider/done?code=x&state=y")
            assert (forged.status_code, forged.headers["location"]) == (303, "/sign-in")
            lines = [(line.action, line.actor) for line in await api.core.ledger.audit()]
            assert lines[-2:] == [("session.signed-in", "ada"), ("access.denied", "eve")]
            assert not await api.core.ledger.all("provider-sign-in")


def test_the_highest_role_of_all_groups_counts() -> None:
    roles = parse_roles(("everyone=viewer", "cn=x,ou=y=admin"))
    assert role_in(["everyone", "cn=x,ou=y"], roles) is Role.ADMIN
    assert role_in(["everyone"], roles) is Role.VIEWER
    assert role_in(["nothing"], roles) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"oidc_issuer": "http://id.example.org"}, "no https:// address"),
        ({"oidc_issuer": "https://id.example.org"}, "one is missing"),
        ({"oidc_issuer": "https://id.example.org", "oidc_client_id": "x", "secret": "s"}, "no group has a role"),
        ({"oidc_issuer": "https://id.example.org", "oidc_client_id": "x", "secret": "s", "oidc_roles": ("a=king",)}, "'a=king'"),
        (
            {"oidc_issuer": "https://id.example.org", "oidc_client_id": "x", "secret": None, "oidc_roles": ("a=admin",)},
            "cannot be",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, options: dict[str, object], words: str) -> None:
    if "secret" in options:
        path = tmp_path / "secret"
        if (text := options.pop("secret")) is not None:
            path.write_text(str(text))
        options["oidc_client_secret_file"] = path
    with pytest.raises(BadInput, match=words):
        provider_of(CloudSettings(data_dir=tmp_path, **options), URL)  # type: ignore[arg-type]


def test_without_a_provider_there_is_none(tmp_path: Path) -> None:
    assert provider_of(CloudSettings(data_dir=tmp_path), URL) is None
