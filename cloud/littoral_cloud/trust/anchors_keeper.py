"""Each coordinator follows which CA and which signing key are in force, and one of those that have the keys writes what is due.

Rules, in order:

1. What the ledger says is taken over at once: the listeners show another certificate, and sessions tell their nodes.
2. A next CA or key comes into force by a coordinator that has it, so that there is always one that can issue and sign.
3. The same commit names it in the fleet's identity (littoral_cloud/fleet/identity.py): a coordinator that lacks it does not start
   any more. One that runs goes on with what it has, and its log says each hour what to copy.
4. Of several coordinators that commit at one moment one wins; the others read what it wrote.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from littoral.backoff import Backoff
from littoral.errors import Conflict, FleetError, Unavailable
from littoral.trust_anchors import ToldAnchors
from littoral_cloud.fleet.anchors import ID, KIND, FleetAnchors, due_at, known_by_all, lines, step
from littoral_cloud.fleet.identity import ID as IDENTITY
from littoral_cloud.fleet.identity import KIND as FLEET
from littoral_cloud.fleet.identity import FleetIdentity
from littoral_cloud.fleet.ledger import Change, Ledger, Write, news_within
from littoral_cloud.fleet.records import dump, load
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.trust.store import Trust

log = logging.getLogger(__name__)

LOOK_S = 60.0
COALESCE_S = 0.25
"""Reports of many nodes are counted together."""
BACKOFF = Backoff(1.0, 30.0)
_SAY_EVERY_S = 3600.0


class AnchorsKeeper:
    """Args:
    view: follows KIND and "node".
    changed: called with what nodes have to hear, at each change.
    reissue: makes the listeners show another certificate.
    clock: seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        ledger: Ledger,
        trust: Trust,
        view: FleetView,
        changed: Callable[[ToldAnchors], None],
        reissue: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._ledger = ledger
        self._trust = trust
        self._view = view
        self._changed = changed
        self._reissue = reissue
        self._clock = clock
        self._rng = rng
        self._said_at = -_SAY_EVERY_S

    async def run(self) -> None:
        """Until it is cancelled."""
        self._changed(self._trust.anchors.told)
        failures = 0
        async with self._view.watch(KIND, "node") as news:
            await self._view.ready()
            while True:
                try:
                    await self.advance()
                    failures = 0
                    within_s = min(max(due_at(self._trust.anchors) - self._clock(), 0.0) + COALESCE_S, LOOK_S)
                except (Conflict, Unavailable) as error:
                    within_s = BACKOFF.pause_s(failures, self._rng)
                    failures += 1
                    log.warning("keys: %s; again in %.1f s", error, within_s)
                    await self._view.refresh(Change((Write(KIND, ID, None, None),)))
                if await news_within(news, within_s):
                    await asyncio.sleep(COALESCE_S)
                    news.drain()

    async def advance(self) -> None:
        """Takes over what the view has, and writes what is due. Raises Conflict, Unavailable."""
        try:
            await asyncio.to_thread(self._trust.renew_clock_key, self._clock())
        except FleetError as error:
            log.error("keys: no node can ask for the time: %s", error)
        held = self._view.of(KIND).get(ID)
        if held is not None and held.record != self._trust.anchors:
            await self._take(held.record)
        before = self._trust.anchors
        if due_at(before) == math.inf:  # nothing is under way, and no node is counted
            return self._say_what_lacks()
        self._look_again(before)
        nodes = (each.record for each in self._view.of("node").values())
        after = self._possible(before, step(before, self._clock(), known_by_all(nodes, before.number)))
        if after != before:
            change = await self._change(before, after, held.generation if held else 0)
            self._view.wrote(change, await self._ledger.commit(change))
            await self._take(after)
        self._say_what_lacks()

    def _look_again(self, anchors: FleetAnchors) -> None:
        """A folder may have been made, or copied here, since."""
        waits = anchors.next_authority, anchors.next_signing_key
        has_ca = waits[0] is None or self._trust.has_authority(waits[0].fingerprint)
        if has_ca and (waits[1] is None or self._trust.has_signing_key(waits[1].key_id)) and not self._trust.lacks:
            return
        try:
            self._trust.look_again(self._clock())
        except FleetError as error:
            log.error("keys: %s", error)

    async def _take(self, anchors: FleetAnchors) -> None:
        self._trust.follow(anchors)
        self._changed(anchors.told)
        try:
            await self._reissue()
        except FleetError as error:
            log.error("the listeners keep their certificate: %s", error)

    def _possible(self, before: FleetAnchors, after: FleetAnchors) -> FleetAnchors:
        """Without what needs a key that is not here."""
        if not self._trust.has_authority(after.authority.fingerprint):
            after = replace(after, authorities=before.authorities, number=before.number)
        if not self._trust.has_signing_key(after.signing_key.key_id):
            after = replace(after, signing_keys=before.signing_keys)
        return after

    async def _change(self, before: FleetAnchors, after: FleetAnchors, generation: int) -> Change:
        writes, audit = [Write(KIND, ID, dump(after), generation)], lines(before, after)
        doc = await self._ledger.get(FLEET, IDENTITY)
        if doc is not None:
            known = load(FleetIdentity, doc)
            named = replace(known, ca=after.authority.fingerprint, signing_key=after.signing_key.key_id)
            if named != known:
                writes.append(Write(FLEET, IDENTITY, dump(named), doc.generation))
        return Change(tuple(writes), audit)

    def _say_what_lacks(self) -> None:
        if self._trust.lacks:
            self._look_again(self._trust.anchors)
        if (lacks := self._trust.lacks) and self._clock() - self._said_at >= _SAY_EVERY_S:
            self._said_at = self._clock()
            log.error("keys: %s lacks %s, which is in force: copy the folder from another coordinator", self._trust.folder, lacks)
