"""The parts of a daily pass, from the coordinator's settings."""

from __future__ import annotations

from littoral_cloud.app import Core, audit_archive
from littoral_cloud.fleet.ledger import Fence
from littoral_cloud.retention.controller import ACTOR, DAY_S, Part


def parts_of(core: Core) -> dict[str, Part]:
    """By name, in their order."""

    async def audit(fence: Fence) -> str:
        made = await audit_archive(core).archive(core.clock() - core.settings.audit_days * DAY_S, fence, actor=ACTOR)
        return f"archived {sum(each.lines for each in made):,} lines in {len(made)} files" if made else ""

    return {"audit": audit} if core.settings.audit_days else {}
