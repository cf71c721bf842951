"""Use cases of events: what changes in the fleet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet.ledger import news_within
from littoral_cloud.trust.people import Caller, Role

KINDS = ("node", "presence", "reported", "trouble", "inputs", "release", "rollout", "run", "audit")


@dataclass(frozen=True, slots=True)
class ChangeSeen:
    """`id` "": more changed of this kind than is remembered."""

    kind: str
    id: str
    generation: int


@use_case("event.follow", Role.VIEWER)
async def follow(
    office: Office, caller: Caller, *, kinds: tuple[str, ...], quiet_s: float, since: int | None = None
) -> AsyncIterator[ChangeSeen | None]:
    """What changes from now on. None: nothing has changed for `quiet_s`.

    Args:
        since: a position of the ledger. Where something has changed since, of any kind, the first change has no kind and no id.
    """

    async def changes() -> AsyncIterator[ChangeSeen | None]:
        async with office.core.ledger.watch(*kinds) as news:
            if since is not None and await office.core.ledger.position() != since:
                yield ChangeSeen("", "", 0)
            while True:
                if not await news_within(news, quiet_s):
                    yield None
                for each in sorted(news.drain(), key=lambda each: (each.kind, each.id)):
                    yield ChangeSeen(each.kind, each.id, each.generation)

    return changes()
