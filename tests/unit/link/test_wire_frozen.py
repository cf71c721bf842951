"""The protocol between cloud and nodes is frozen: what is in tests/old/wire never changes. `make wire-freeze` adds new fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from littoral.fleet.v1 import session_pb2
from tools.wire_contract import CONTRACT, SAMPLES, contract, message_of, samples, values_of

RECORDED: dict[str, list[dict[str, Any]]] = json.loads(SAMPLES.read_text())


def test_no_field_value_or_rpc_is_changed_or_removed() -> None:
    assert set(CONTRACT.read_text().splitlines()) - set(contract()) == set()


def test_everything_of_today_is_frozen() -> None:
    missing = set(contract()) - set(CONTRACT.read_text().splitlines())
    assert missing == set(), "run `make wire-freeze`"
    assert set(samples()) == set(RECORDED), "run `make wire-freeze`"


@pytest.mark.parametrize("oneof", [session_pb2.ConnectRequest, session_pb2.ConnectResponse])
def test_each_message_of_a_session_has_a_sample(oneof: Any) -> None:
    kinds = {f"{oneof.DESCRIPTOR.full_name}/{field.name}" for field in oneof.DESCRIPTOR.fields}
    assert kinds <= set(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_bytes_give_the_recorded_values(name: str) -> None:
    for sample in RECORDED[name]:
        message = message_of(name)
        message.ParseFromString(bytes.fromhex(sample["bytes"]))
        assert values_of(message) == sample["values"]
