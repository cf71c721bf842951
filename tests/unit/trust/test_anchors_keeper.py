"""One of several coordinators puts the next keys into force: one that has them."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from littoral.errors import BadInput, Conflict, Untrusted
from littoral.identity import certificate_request, new_node_key
from littoral.trust_anchors import ToldAnchors
from littoral_cloud.fleet.anchors import KIND, FleetAnchors, read_anchors, step
from littoral_cloud.fleet.ledger import Change, Ledger, Write
from littoral_cloud.fleet.records import Node, dump
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.trust.anchors_keeper import AnchorsKeeper
from littoral_cloud.trust.ca import open_ca
from littoral_cloud.trust.renewal import renew_ca, renew_signing_key
from littoral_cloud.trust.store import Trust, open_trust

pytest_plugins = ("tests.kit.redis",)

NOW = 1_800_000_000.0
OVERLAP_S = 3600.0


class OneCoordinator:
    def __init__(self, ledger: Ledger, trust: Trust) -> None:
        self.now = NOW
        self.trust = trust
        self.told: list[ToldAnchors] = []
        self.reissued = 0
        self.view = FleetView(ledger, {KIND: FleetAnchors, "node": Node})
        rng = random.Random(1)
        self.keeper = AnchorsKeeper(ledger, trust, self.view, self.told.append, self._reissue, lambda: self.now, rng)

    async def _reissue(self) -> None:
        self.reissued += 1

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[OneCoordinator]:
        running = asyncio.create_task(self.view.run())
        await self.view.ready()
        try:
            yield self
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_one_that_lacks_the_next_keys_leaves_it_to_one_that_has_them_and_takes_a_copy(
    ledger: Ledger, tmp_path: Path
) -> None:
    first, copied = open_trust(tmp_path / "first", NOW), tmp_path / "copied"
    shutil.copytree(tmp_path / "first", copied)
    await renew_ca(ledger, first, NOW, OVERLAP_S, "me")
    first.follow((await read_anchors(ledger))[0])
    made = await renew_signing_key(ledger, first, NOW, OVERLAP_S, "me")
    async with OneCoordinator(ledger, open_trust(copied, NOW)).watching() as lacking:
        await lacking.keeper.advance()
        assert (lacking.told[-1].number, lacking.reissued) == (2, 1)
        assert (await read_anchors(ledger))[0] == made

        async with OneCoordinator(ledger, open_trust(tmp_path / "first", NOW)).watching() as having:
            await having.keeper.advance()
        found, _ = await read_anchors(ledger)
        assert found is not None
        assert (found.authority.fingerprint, found.signing_key.key_id) == (
            made.authorities[1].fingerprint,
            made.signing_keys[1].key_id,
        )

        await lacking.view.catch_up()
        await lacking.keeper.advance()
        assert (
            lacking.trust.lacks
            == f"the key of CA {found.authority.fingerprint[:16]} and signing key {found.signing_key.key_id[:16]}"
        )
        assert lacking.trust.ca.fingerprint == made.authorities[0].fingerprint  # it goes on: nodes know both
        for name in ("ca-2", "signing-2"):
            shutil.copytree(tmp_path / "first" / name, copied / name)
        await lacking.keeper.advance()
        assert (lacking.trust.lacks, lacking.trust.ca.fingerprint) == ("", found.authority.fingerprint)


async def test_a_folder_that_a_killed_command_left_is_used_by_the_next(ledger: Ledger, tmp_path: Path) -> None:
    trust = open_trust(tmp_path, NOW)
    first = await renew_ca(ledger, trust, NOW, OVERLAP_S, "me")
    [doc] = await ledger.all(KIND)
    await ledger.commit(Change((Write(KIND, doc.id, None, doc.generation),)))
    again = await renew_ca(ledger, trust, NOW, OVERLAP_S, "me")
    assert again.authorities == first.authorities


async def test_a_second_one_waits_for_the_first_and_makes_no_folder(ledger: Ledger, tmp_path: Path) -> None:
    trust = open_trust(tmp_path, NOW)
    await renew_signing_key(ledger, trust, NOW, OVERLAP_S, "me")
    with pytest.raises(Conflict, match="is introduced and not in force yet"):
        await renew_signing_key(ledger, trust, NOW, OVERLAP_S, "me")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca", "signing", "signing-2"]


async def test_an_overlap_out_of_range_and_a_key_that_is_elsewhere_are_named(ledger: Ledger, tmp_path: Path) -> None:
    trust = open_trust(tmp_path / "a", NOW)
    with pytest.raises(BadInput, match=r"overlap: -1 s is not from 0 to"):
        await renew_ca(ledger, trust, NOW, -1.0, "me")
    trust.follow(open_trust(tmp_path / "b", NOW).anchors)
    with pytest.raises(Untrusted, match=r"lacks the key of CA .* and signing key .*"):
        await renew_ca(ledger, trust, NOW, OVERLAP_S, "me")


async def test_one_whose_key_was_lost_is_replaced_before_it_is_in_force(ledger: Ledger, tmp_path: Path) -> None:
    trust = open_trust(tmp_path, NOW)
    lost = await renew_ca(ledger, trust, NOW, OVERLAP_S, "me")
    (tmp_path / "ca-2" / "key.pem").unlink()
    trust = open_trust(tmp_path, NOW)  # it opens all the same
    trust.follow(lost)
    made = await renew_ca(ledger, trust, NOW, OVERLAP_S, "me", replaces=True)
    assert [each.fingerprint for each in made.authorities] == [
        trust.ca.fingerprint,
        open_ca(tmp_path / "ca-3", NOW).fingerprint,
    ]
    assert (made.number, lost.authorities[1] in made.authorities) == (2, False)
    in_force = step(made, NOW + OVERLAP_S, 0)
    (doc,) = await ledger.all(KIND)
    await ledger.commit(Change((Write(KIND, doc.id, dump(in_force), doc.generation),)))
    later = open_trust(tmp_path, NOW)
    later.follow(in_force)
    assert later.ca.fingerprint == made.authorities[1].fingerprint
    third = await renew_ca(ledger, later, NOW, OVERLAP_S, "me")
    assert third.authorities[2].fingerprint == open_ca(tmp_path / "ca-4", NOW).fingerprint

    key = await renew_signing_key(ledger, later, NOW, OVERLAP_S, "me")
    other = await renew_signing_key(ledger, later, NOW, OVERLAP_S, "me", replaces=True)
    assert [each.key_id == key.signing_keys[-1].key_id for each in other.signing_keys] == [False, False]
    assert other.next_authority == third.next_authority


async def test_the_key_of_a_retired_ca_may_be_destroyed(ledger: Ledger, tmp_path: Path) -> None:
    trust = open_trust(tmp_path, NOW)
    made = await renew_ca(ledger, trust, NOW, 0.0, "me")
    retired = step(step(made, NOW, 1), NOW, 1)
    assert retired.told.retired
    (tmp_path / "ca" / "key.pem").unlink()
    opened = open_trust(tmp_path, NOW)
    opened.follow(retired)
    assert (opened.lacks, opened.ca.fingerprint) == ("", made.authorities[1].fingerprint)
    assert opened.issue_node(certificate_request(new_node_key()), "n", NOW, knows=0).der  # of an old agent: by the CA in force
    (tmp_path / "ca-2" / "key.pem").unlink()
    with pytest.raises(Untrusted, match="cannot be read"):
        open_trust(tmp_path, NOW)
