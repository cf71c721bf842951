"""Guards littoral/flower_private.py: a new flwr that changes what it stands on fails here, by name, before anything else."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from littoral.errors import BadInput
from littoral.flower_private import SERVER_NODE, become_server, empty_run, from_bytes, name_message, number_of, to_bytes


def test_the_flower_that_this_was_written_against_is_installed() -> None:
    assert version("flwr").startswith("1.41."), "look through littoral/flower_private.py, then change this line"


def test_a_message_and_its_reply_survive_the_wire_with_their_ids() -> None:
    become_server("run-1")
    arrays = ArrayRecord({"w": Array(np.arange(6, dtype=np.float32).reshape(2, 3)), "n": Array(np.array(7))})
    content = RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 2, "freeze-head": True})})
    message = Message(content, number_of("node-a"), MessageType.TRAIN)
    name_message(message, "2.train.node-a")

    there = from_bytes(to_bytes(message))
    assert there.metadata.message_id == "2.train.node-a"
    assert there.metadata.dst_node_id == number_of("node-a")
    assert there.metadata.src_node_id == SERVER_NODE
    assert there.metadata.run_id == number_of("run-1") == empty_run("run-1").run_id
    assert there.content["config"]["server-round"] == 2
    np.testing.assert_array_equal(there.content["arrays"]["w"].numpy(), arrays["w"].numpy())
    assert there.content["arrays"]["n"].numpy().shape == ()

    reply = from_bytes(to_bytes(Message(RecordDict({"metrics": MetricRecord({"num-examples": 3})}), reply_to=there)))
    assert reply.metadata.reply_to_message_id == "2.train.node-a"
    assert reply.metadata.src_node_id == number_of("node-a")


def test_becoming_a_server_sets_every_part_of_flowers_identity() -> None:
    become_server("run-2")
    assert (TaskIdentity.run_id, TaskIdentity.node_id) == (number_of("run-2"), SERVER_NODE)
    assert TaskIdentity.task_id


def test_numbers_are_stable_positive_and_fit_flowers_field() -> None:
    assert number_of("node-a") == number_of("node-a") != number_of("node-b")
    assert 0 < number_of("node-a") < 2**62


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"not a message at all"])
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match="not a Flower message"):
        from_bytes(data)
