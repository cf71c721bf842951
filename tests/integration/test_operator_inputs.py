"""What an operator types wrong is refused by the coordinator, before a node or a webhook waits for it in vain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from littoral.errors import BadInput
from littoral_cloud.commands import tokens
from littoral_cloud.commands.use_case import Office
from littoral_cloud.fleet.ledger import Audit, Change, Write
from littoral_cloud.fleet.profile import PRESENCE, PROFILE, stored
from littoral_cloud.fleet.records import Presence
from littoral_cloud.trust.people import Caller, Role
from tests.kit.operators import OperatorsApi, enrol, operators_api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OperatorsApi]:
    async with operators_api(tmp_path / "cloud") as api:
        yield api


async def test_sizes_of_a_nodes_hardware_are_numbers_also_where_the_ledger_has_texts(api: OperatorsApi) -> None:
    await enrol(api, "cam-1")
    hardware = {"cpu_model": "7", "memory_bytes": "4110000000", "storage_free_bytes": 5}
    presence = Presence(connected=False, since=0.0, boot_id="b", hardware=hardware)
    session, profile = stored(presence)
    writes = (Write(PRESENCE, "id-cam-1", session, None), Write(PROFILE, "id-cam-1", profile, None))
    await api.core.ledger.commit(Change(writes))
    shown = (await api.http.get("/api/v1/nodes/cam-1", headers=await api.bearer(Role.VIEWER))).json()
    assert shown["hardware"] == {"cpu_model": "7", "memory_bytes": 4_110_000_000, "storage_free_bytes": 5}


@pytest.mark.parametrize("name", ["<img src=x>", "-rf", "o'brien kitchen", "Porch"])
async def test_a_name_that_no_node_can_have_makes_no_token(api: OperatorsApi, name: str) -> None:
    admin = Caller(name="ada", role=Role.ADMIN)
    with pytest.raises(BadInput, match=r"node_name: .* is no name"):
        await tokens.create(
            Office(api.core), admin, name="t", ttl_s=60.0, uses=1, labels={}, address="fleet.example:7443", node_name=name
        )
    assert not (await tokens.page(Office(api.core), admin, after="", limit=5)).items


async def test_a_webhook_that_could_never_fire_is_refused_with_the_nearest_action(api: OperatorsApi) -> None:
    admin = await api.bearer(Role.ADMIN)
    for pattern in ("rolout.*", "webhook.saved"):  # no webhook is sent lines about webhooks
        asked = {"url": "https://ops.example", "events": [pattern]}
        refused = await api.http.put("/api/v1/webhooks/ops", headers=admin, json=asked)
        error = refused.json()["error"]
        assert error["message"] == f"events: {pattern!r}: there is no such action"
    asked = {"url": "https://ops.example", "events": ["rolout.*"]}
    error = (await api.http.put("/api/v1/webhooks/ops", headers=admin, json=asked)).json()["error"]
    assert "did you mean rollout.*?" in error["hint"]


async def test_an_unknown_action_in_the_trails_filter_is_warned_about_unless_a_line_has_it(api: OperatorsApi) -> None:
    admin = await api.bearer(Role.ADMIN)

    async def warning(action: str) -> str:
        found: str = (await api.http.get("/api/v1/audit", headers=admin, params={"action": action})).json()["warning"]
        return found

    assert "did you mean node.enrolled?" in await warning("node.enroled")
    assert await warning("node.enrolled") == ""
    await api.core.ledger.commit(Change((), (Audit("thing.done", "x", "me"),)))
    assert await warning("thing.*") == ""
