"""Machines that are expected by a hardware id."""

from __future__ import annotations

import random

import pytest

from littoral.errors import BadInput
from littoral.identity import certificate_request, new_node_key
from littoral_cloud.fleet.enrolment import EnrolmentRequest, enrol
from littoral_cloud.fleet.expected import MOST_ROWS, ExpectedNode, fleet_from, import_fleet
from littoral_cloud.fleet.issued_tokens import create_token
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.nodes import find_node
from littoral_cloud.fleet.records import Enrolment, Node
from littoral_cloud.trust.store import Trust, open_trust

pytest_plugins = ("tests.kit.redis",)

NOW = 1_800_000_000.0
CSV = "\ufeffhardware_id,name,site\r\nserial:10000000ABCD,gate-1,harbour\r\nmac:dc:a6:32:01:02:03,,\r\n\r\n"


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return open_trust(tmp_path_factory.mktemp("keys"), NOW)


def test_a_list_is_read_with_its_labels() -> None:
    assert fleet_from(CSV) == {
        "serial:10000000abcd": ExpectedNode(name="gate-1", labels={"site": "harbour"}),
        "mac:dc:a6:32:01:02:03": ExpectedNode(),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: ''"),
        ("name\nx\n", "line 1: 'name' must name each column once, and hardware_id"),
        ("hardware_id,name,name\n", "must name each column once"),
        ("hardware_id,a b\n", "column 'a b' is no name of a label"),
        ("hardware_id\n10000000abcd\n", "line 2, hardware_id: '10000000abcd'"),
        ("hardware_id\nmac:dc:a6\n", "line 2, hardware_id: 'mac:dc:a6'"),
        ("hardware_id,name\nserial:1,Not A Name\n", "line 2, name: 'Not A Name'"),
        ("hardware_id,name\nserial:1,x,y\n", "line 2: 3 cells, the header has 2"),
        ("hardware_id\nserial:1\nSERIAL:1\n", "line 3: 'serial:1' is there twice"),
        ("hardware_id,name\nserial:1,x\nserial:2,x\n", "line 3: 'x' is there twice"),
        ("hardware_id,site\nserial:1,\x1b[31m\n", "line 2, site: "),
        ('hardware_id\n"serial:1\n', "is no CSV"),
        ("hardware_id\n" + "serial:1\n" * (MOST_ROWS + 1), f"{MOST_ROWS + 1} machines"),
    ],
)
def test_a_bad_list_is_refused_by_line_column_and_value(text: str, told: str) -> None:
    with pytest.raises(BadInput) as error:
        fleet_from(text)
    assert told in str(error.value)


async def joined(ledger: Ledger, trust: Trust, *ids: str, ask: bool = True, name: str = "own") -> Node:
    secret, _ = await create_token(
        ledger, "t", 60.0, 1, {"site": "yard", "line": "2"}, NOW, lambda n: f"{ids}{ask}{name}", ask=ask
    )
    request = EnrolmentRequest(
        token=secret, certificate_request=certificate_request(new_node_key()), node_name=name, hardware_ids=ids
    )
    enrolled = await enrol(ledger, trust, request, NOW, random.Random(1))
    return await find_node(ledger, enrolled.node_id)


async def test_one_that_is_expected_is_let_in_with_its_name_and_the_others_wait(ledger: Ledger, trust: Trust) -> None:
    assert await import_fleet(ledger, CSV, actor="ann") == 2
    node = await joined(ledger, trust, "mac:00:00:00:00:00:01", "serial:10000000ABCD")
    assert (node.name, node.enrolment, node.labels) == ("gate-1", Enrolment.ACCEPTED, {"site": "harbour", "line": "2"})
    same_id = await joined(ledger, trust, "serial:10000000abcd", name="thief")  # another key
    assert (same_id.name, same_id.enrolment, same_id.labels["site"]) == ("thief", Enrolment.PENDING, "yard")
    unknown = await joined(ledger, trust, "serial:other", "junk", name="stranger")
    assert unknown.enrolment is Enrolment.PENDING
    assert (await joined(ledger, trust, ask=False, name="invited")).enrolment is Enrolment.ACCEPTED
    assert await import_fleet(ledger, CSV.replace("gate-1", "gate-9"), actor="ann") == 2
    assert (await find_node(ledger, "gate-1")).name == "gate-1"  # it has enrolled already
    assert [line.actor for line in await ledger.audit() if line.action == "node.expected"] == ["ann", "ann"]
