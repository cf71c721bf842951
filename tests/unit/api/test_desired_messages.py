"""Equal desired states are parsed and built once; each node's message has its own generation."""

from __future__ import annotations

import pytest

from littoral_cloud.api import desired_messages, wire
from littoral_cloud.api.desired_messages import DesiredMessages
from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.fleet.records import Desired, DesiredModel, Probation, dump


def wanted(number: int) -> Desired:
    digest = f"sha256:{number:064x}"
    model = DesiredModel(manifest_digest=digest, rollout_id="r", generation=number, probation=Probation(duration_s=1.0))
    return Desired().with_model("digits", model)


def test_equal_ones_are_one_record_and_each_message_is_the_nodes_own() -> None:
    messages = DesiredMessages()
    (first, one), (second, other) = (messages.record(Doc("desired", id, at, dump(wanted(3)))) for id, at in (("a", 5), ("b", 9)))
    assert one is other == wanted(3)
    for generation in (first, second):
        assert messages.message(generation, one).desired == wire.desired_to(generation, wanted(3))


def test_what_differs_is_not_mixed_up_when_room_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desired_messages, "MOST", 2)
    messages = DesiredMessages()
    for number in (1, 2, 3, 1, 3, 2):
        generation, record = messages.record(Doc("desired", "a", number, dump(wanted(number))))
        assert messages.message(generation, record).desired == wire.desired_to(number, wanted(number))


def test_of_a_node_of_which_nothing_was_wanted() -> None:
    assert DesiredMessages().record(None) == (0, Desired())
