"""Releases N and N + 1 side by side on one Redis: both go on, neither loses what the other wrote, and the new form comes last."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc.aio
import pytest

from littoral.errors import BadInput, FleetError
from littoral.fleet.v1 import session_pb2
from littoral.process.command import CommandFailed
from littoral_cloud.app import open_core
from littoral_cloud.fleet.coordinators import KIND as COORDINATOR
from littoral_cloud.fleet.coordinators import Coordinator
from littoral_cloud.fleet.edit import edit
from littoral_cloud.fleet.ledger import Body, Change, Write
from littoral_cloud.fleet.migrations import Migration, Migrations
from littoral_cloud.fleet.records import Desired, Node, dump
from littoral_cloud.fleet.schema import SCHEMA, read_schema
from tests.kit.coordinators import SeveralCoordinators, node_of
from tests.kit.fleet import until_written
from tests.kit.node_client import Line, NodeClient
from tests.kit.patience import PATIENCE_S
from tests.kit.raw_redis import raw_redis
from tests.kit.redis_server import MortalRedis

pytest_plugins = ("tests.kit.redis",)

NEXT = SCHEMA + 1


def with_colour(body: Body) -> Body | None:
    """What N + 1 adds to each node."""
    return None if "colour" in body else {**body, "colour": "blue"}


MIGRATIONS = (Migration(NEXT, "node", with_colour),)


async def goes_on(line: Line, number: int) -> None:
    """The node is served: its report is written, and its heartbeat answered."""
    await line.say(reported=session_pb2.ReportedState(generation=number))
    await line.say(heartbeat=session_pb2.Heartbeat(sequence=number))
    await line.hear("heartbeat")


async def test_both_releases_go_on_and_the_new_form_waits_for_the_last_of_the_old(
    tmp_path: Path, mortal_redis: MortalRedis
) -> None:
    fleet = SeveralCoordinators(tmp_path, mortal_redis)
    async with asyncio.timeout(PATIENCE_S), open_core(fleet.settings(0)) as core:
        ledger = core.ledger
        keys, other_keys = await node_of(core, "n1"), await node_of(core, "n2")
        async with fleet.serving(0, {}) as old, NodeClient(old.fleet, core.trust.ca.pem, keys) as client:
            line = await client.begin()
            await goes_on(line, 1)
            # N + 1 comes: its own document has a field that N does not know; it has a kind, and announcements, of its own
            number = raw_redis(mortal_redis.socket, "INCR", "changes-count")
            raw_redis(mortal_redis.socket, "XADD", "changes", f"{number}-1", "hologram", "v2;n1;9", "node", "v2;n1;9")
            me = {**dump(Coordinator(started_at=1.0, knows=NEXT)), "region": "north"}
            hologram = {"of": "n1", "layers": [1, 2]}
            await ledger.commit(Change((Write(COORDINATOR, "new", me, 0), Write("hologram", "n1", hologram, 0))))
            migrating = asyncio.create_task(Migrations(ledger, MIGRATIONS, NEXT).run())
            await goes_on(line, 2)
            digest = core.blobs.put(b"a model")
            await ledger.commit(Change((Write("desired", "n1", dump(Desired(benchmarks=(digest,))), 0),)))
            assert list((await line.hear("desired")).benchmarks) == [digest], "N still hears of what changes"
            # a document in a form of its own, against the rules: N leaves it as it is, and everything else goes on
            doc = await ledger.get("node", "n2")
            assert doc is not None
            coloured = {**doc.body, "colour": "red"}
            await ledger.commit(Change((Write("node", "n2", coloured, doc.generation),)))
            with pytest.raises(FleetError, match=r"node n2\.colour: is not known"):
                await edit(ledger, Node, "node", "n2", lambda node: replace(node, name="other") if node else None)
            async with NodeClient(old.fleet, core.trust.ca.pem, other_keys) as refused:
                with pytest.raises((AssertionError, grpc.aio.AioRpcError)):
                    await refused.begin()
            await goes_on(line, 3)
            assert (await until_written(ledger, "reported", "n1", generation=3)).body["models"] == {}
            assert [d.body for d in await ledger.all("node") if d.id == "n2"] == [coloured]
            assert (await ledger.get("hologram", "n1")) is not None
            assert (await read_schema(ledger)).written == SCHEMA
            assert old.command.running
            await old.command.end()
        await migrating
        assert {doc.id: doc.body["colour"] for doc in await ledger.all("node")} == {"n1": "blue", "n2": "red"}
        generations = {doc.id: doc.generation for doc in await ledger.all("node")}
        await Migrations(ledger, MIGRATIONS, NEXT).run()  # once more
        assert generations == {doc.id: doc.generation for doc in await ledger.all("node")}
        assert (await read_schema(ledger)).migrated == NEXT
        with pytest.raises((CommandFailed, BadInput), match=f"schema {NEXT}, this release knows {SCHEMA}"):
            async with fleet.serving(0, {}):
                pass
