"""What stands on the page, without a browser: one application in this process for all tests of this file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import pytest
import pytest_asyncio

from littoral_cloud.trust.people import Role
from tests.kit.operators import OperatorsApi, operators_api
from tests.kit.page_world import seed

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


@dataclass(frozen=True, slots=True)
class Readers:
    """`ana` and `bo`: what a browser of each would send."""

    api: OperatorsApi
    ana: Mapping[str, str]
    bo: Mapping[str, str]

    async def read(self, path: str, who: Mapping[str, str]) -> str:
        answer = await self.api.http.get(path, headers=who)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def send(self, path: str, who: Mapping[str, str], **form: str) -> str:
        return (await self.api.http.post(path, headers=who, data=form)).text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Readers]:
    folder = tmp_path_factory.mktemp("page")
    async with operators_api(folder / "cloud") as api:
        await seed(api.core, folder / "made", hostile=False)
        yield Readers(api, await api.bearer(Role.ADMIN, name="ana"), await api.bearer(Role.OPERATOR, name="bo"))


async def test_an_approval_is_not_offered_to_who_started_the_rollout(page: Readers) -> None:
    body = {"release": "tiny-2", "approval": True}
    made = (await page.api.http.post("/api/v1/rollouts", headers=page.ana, json=body)).json()["rollout"]
    assert "Approve…" not in await page.read(f"/rollouts/{made}", page.ana)
    of_bo = await page.read(f"/rollouts/{made}", page.bo)
    assert "Approve…" in of_bo
    assert "Next wave now…" not in of_bo


async def test_a_start_is_offered_where_it_reaches_somebody(page: Readers) -> None:
    form = {"release": "tiny-2", "waves": "1, 25%"}
    found = await page.send("/start-rollout/preview", page.ana, **form)
    assert "Start the rollout</button>" in found
    assert "The first wave is asked" in found
    found = await page.send("/start-rollout/preview", page.ana, **form, where="name=cam-*-00017")  # it is in quarantine
    assert "No node would get it now" in found
    assert "Start the rollout</button>" not in found


async def test_counts_and_verbs_agree(page: Readers) -> None:
    found = await page.read("/releases?model=tiny", page.ana)
    assert "nodes answer with an artifact of tiny, of any release" in found
    made = (await page.api.http.post("/api/v1/rollouts", headers=page.ana, json={"release": "tiny-2"})).json()["rollout"]
    asked = await page.read(f"/rollouts/{made}/abort", page.ana)
    assert "It has asked no node so far, and waits to begin." in asked
