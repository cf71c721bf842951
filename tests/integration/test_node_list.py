"""`littoral-cloud node list`, some nodes at a time: a page costs what it shows, however many nodes there are."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from littoral_cloud.app import open_core
from littoral_cloud.cli import execute
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.nodes import find_node, view_nodes, view_some_nodes
from littoral_cloud.fleet.records import Enrolment, Node, dump
from littoral_cloud.settings import load_settings

NODES = 200


def node(number: int) -> tuple[Write, Write]:
    """Names go down where ids go up."""
    record = Node(
        node_id=f"{number:016x}",
        name=f"camera-{999 - number:03d}",
        enrolment=Enrolment.ACCEPTED,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=4e9,
        enrolled_at=0.0,
    )
    return Write("node", record.node_id, dump(record), 0), Write("node-name", record.name, {"node_id": record.node_id}, 0)


async def _enrolled(data: Path) -> None:
    async with open_core(load_settings(data_dir=data)) as core:
        await core.ledger.commit(Change(tuple(write for number in range(NODES) for write in node(number))))
        page = await view_some_nodes(core.ledger, 0.0, after="camera-899", count=2)
        assert [view.node.name for view in page] == ["camera-900", "camera-901"]
        before = core.ledger.documents_read
        assert len(await view_some_nodes(core.ledger, 0.0, after="", count=10)) == 10
        assert core.ledger.documents_read - before <= 70
        assert len(await view_nodes(core.ledger, 0.0)) == NODES
        assert (await find_node(core.ledger, "camera-950")).node_id == f"{49:016x}"


def test_a_page_is_by_name_and_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def listed(*words: str) -> tuple[str, str]:
        assert execute(["node", "list", "--data-dir", str(tmp_path), *words]) == 0
        out, err = capsys.readouterr()
        return out, err

    asyncio.run(_enrolled(tmp_path))
    out, _ = listed("--limit", "3", "--format", "json")
    assert [each["name"] for each in json.loads(out)] == ["camera-800", "camera-801", "camera-802"]
    _, err = listed("--limit", "3")
    assert "--limit 3 --after camera-802" in err
    out, err = listed("--limit", "3", "--after", "camera-998")
    assert "camera-999" in out
    assert "--after" not in err
