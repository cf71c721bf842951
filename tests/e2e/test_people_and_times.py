"""Approval by another person, a maintenance window and a quarantine, as an operator sees them: every part its own process."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from littoral.maintenance import DAYS
from littoral.process.command import CommandFailed, run_to_end
from littoral_cloud.app import open_core
from littoral_cloud.fleet.ledger import Ledger, until
from littoral_cloud.fleet.records import Reported, UpdateState, load
from littoral_cloud.settings import load_settings
from tests.kit.choices import one_student
from tests.kit.patience import PATIENCE_S
from tests.kit.whole import CLOUD, Fleet

pytest_plugins = ("tests.kit.whole_fixture",)


async def serving(ledger: Ledger, names: dict[str, str], *wanted: str) -> None:
    """Once these nodes, and no others, have kept the model."""

    async def look() -> bool | None:
        reports = {doc.id: load(Reported, doc).models.get("digits") for doc in await ledger.all("reported")}
        has_it = {names[id] for id, model in reports.items() if model is not None and model.state is UpdateState.SUCCEEDED}
        return True if has_it == set(wanted) else None

    await until(ledger, ("reported",), look, seconds=PATIENCE_S, what=f"{wanted} to serve it")


@pytest.mark.slow
async def test_a_rollout_waits_for_another_person_and_a_window_and_leaves_out_a_node_in_quarantine(
    processes: Fleet, tmp_path: Path
) -> None:
    async def said(*words: str, person: str = "ada") -> Any:
        environment = {**processes.environment, "LITTORAL_API_TOKEN_FILE": str(tmp_path / person)}
        log = processes.root / "commands.log"
        return json.loads(await run_to_end(words[0], [CLOUD, *words, "--format", "json"], log, environment))

    async with open_core(load_settings(data_dir=processes.root / "cloud"), clock=time.time) as core:  # noqa: TID251
        in_three_days = DAYS[(datetime.fromtimestamp(core.clock(), UTC).weekday() + 3) % 7]
        for person in ("ada", "ben"):
            (tmp_path / person).write_text(await processes.cloud("operator", "create", person, "--role", "operator"))
        await processes.join("open")
        await processes.join("later", "--update-window", f"{in_three_days} 00:00-01:00", "--time-zone", "UTC")
        await processes.join("ill")
        assert (await said("node", "quarantine", "ill", "--reason", "its disk is worn"))["quarantined"] is True
        names = {node["id"]: node["name"] for node in await said("node", "list")}
        release = await one_student(core, tmp_path / "made", "digits")
        id = (await said("rollout", "start", release.release_id, "--approval", "--probation-s", "0.5"))["rollout"]
        [words] = (await said("rollout", "show", id))["waits_for"]
        assert words == f"somebody other than ada to approve it: littoral-cloud rollout approve {id}"
        with pytest.raises(CommandFailed, match="ada has started it, so somebody else must approve it"):
            await said("rollout", "approve", id)
        await said("rollout", "approve", id, person="ben")
        await serving(core.ledger, names, "open")

        shown = await said("rollout", "show", id)
        assert [words.partition(", from ")[0] for words in shown["waits_for"]] == ["the maintenance window of later"]
        assert "in quarantine: its disk is worn" in json.dumps(shown)
        node = next(each for each in await said("node", "list") if each["name"] == "ill")
        assert (node["state"], node["quarantine"]["by"]) == ("online, quarantined", "ada")

        await said("node", "end-quarantine", "ill")
        await said("rollout", "abort", id)
        again = (await said("rollout", "start", release.release_id, "--window", "always", "--probation-s", "0.5"))["rollout"]
        await processes.cloud("rollout", "watch", again)
        await serving(core.ledger, names, "open", "later", "ill")
    await processes.cloud("audit", "verify")
