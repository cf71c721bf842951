"""Of three replies the odd one fails alone, with its code, whatever is odd about it; the round goes on with the two others."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict

from littoral.flower_private import become_server
from littoral_cloud.federation.faults import BAD, Fault
from littoral_cloud.federation.judging import judged
from littoral_cloud.federation.run import FinishedRound, sitting_out
from littoral_cloud.federation.strategies import Sampling, build_strategy
from tests.kit.federation import send, small_run

FINE: Mapping[str, Any] = {"num-examples": 10, "train_loss": 0.1}
SENT = ArrayRecord({"w": Array(np.zeros(3, np.float32)), "steps": Array(np.array(7))})
HUGE = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"


def npy(value: npt.NDArray[Any]) -> bytes:
    with io.BytesIO() as file:
        np.save(file, value)
        return file.getvalue()


def raw(data: bytes, *, shape: tuple[int, ...] = (3,)) -> Array:
    """An array that says what was sent, around whatever bytes."""
    return Array(dtype="float32", shape=shape, stype="numpy.ndarray", data=data)


def reply(w: Any = (2, 2, 2), metrics: Mapping[str, Any] = FINE, *, name: str = "w", steps: Any = 7) -> Message:
    become_server("r")
    array = w if isinstance(w, Array) else Array(np.asarray(w, np.float32) if not isinstance(w, np.ndarray) else w)
    arrays = ArrayRecord({name: array, **({} if steps is None else {"steps": Array(np.array(steps))})})
    return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord(dict(metrics))}), 1, "train")


def holding(**records: Any) -> Message:
    become_server("r")
    return Message(RecordDict(records), 1, "train")


def with_error() -> Message:
    become_server("r")
    return Message(Error(3, "no memory left"), reply_to=reply())


ODD: dict[str, tuple[Any, str]] = {
    "NaN weights": (lambda: reply([np.nan] * 3), "not-finite"),
    "one infinite weight": (lambda: reply([1, -np.inf, 1]), "not-finite"),
    "NaN loss": (lambda: reply(metrics={**FINE, "train_loss": float("nan")}), "not-finite"),
    "an infinite metric that need not be there": (lambda: reply(metrics={**FINE, "seconds": float("inf")}), "not-finite"),
    "a metric less": (lambda: reply(metrics={"num-examples": 10}), "bad-metrics"),
    "a metric that is a list": (lambda: reply(metrics={**FINE, "train_loss": [0.1, 0.2]}), "bad-metrics"),
    "no metrics": (lambda: holding(arrays=reply().content["arrays"]), "bad-metrics"),
    "no arrays": (lambda: holding(metrics=MetricRecord(dict(FINE))), "bad-arrays"),
    "another shape": (lambda: reply([2, 2]), "bad-arrays"),
    "another name": (lambda: reply(name="v"), "bad-arrays"),
    "an array less": (lambda: reply(steps=None), "bad-arrays"),
    "a scalar": (lambda: reply(9), "bad-arrays"),
    "another type": (lambda: reply(np.array([2, 2, 2], np.float64)), "bad-arrays"),
    "text": (lambda: reply(np.array(["2", "2", "2"])), "bad-arrays"),
    "bytes that are no array": (lambda: reply(raw(b"junk")), "bad-arrays"),
    "bytes of another shape": (lambda: reply(raw(npy(np.ones(2, np.float32)))), "bad-arrays"),
    "bytes that claim 4 TB": (lambda: reply(raw(HUGE)), "bad-arrays"),
    "pickled objects": (lambda: reply(raw(npy(np.array([{}, {}, {}], object)))), "bad-arrays"),
    "-15 examples": (lambda: reply(metrics={**FINE, "num-examples": -15}), "bad-examples"),
    "no examples": (lambda: reply(metrics={**FINE, "num-examples": 0}), "bad-examples"),
    "half an example": (lambda: reply(metrics={**FINE, "num-examples": 10.5}), "bad-examples"),
    "examples that are not said": (lambda: reply(metrics={"train_loss": 0.1}), "bad-examples"),
    "a milliard examples": (lambda: reply(metrics={**FINE, "num-examples": 10**9}), "bad-examples"),
    "arrays times 1000": (lambda: reply([1000, 2, 2]), "too-far"),
    "the largest float32": (lambda: reply([3.4e38] * 3), "too-far"),
    "an error": (with_error, "bad-reply"),
}


@pytest.mark.parametrize("what", ODD)
def test_the_odd_reply_fails_alone_and_the_round_goes_on(what: str) -> None:
    make, code = ODD[what]
    verdicts = judged([reply([1, 1, 1]), make(), reply([3, 3, 3])], "train", SENT, [None] * 3)
    odd = verdicts[1]
    assert isinstance(odd, Fault)
    assert odd.code == code
    assert code in BAD
    finished: list[Any] = []
    strategy = build_strategy("fedavg", Sampling(1.0, 0.0, 2), seed=1, first_round=1, on_round=lambda *a: finished.append(a))
    send(strategy, SENT)
    strategy.aggregate_train(1, [reply([1, 1, 1]), make(), reply([3, 3, 3])])
    [(_, arrays, metrics)] = finished
    assert arrays["w"].numpy().tolist() == [2, 2, 2]
    assert dict(metrics) == {"train_loss": pytest.approx(0.1)}


def test_a_newer_agent_may_report_more_and_an_older_one_less() -> None:
    more = reply(metrics={**FINE, "accuracy_before": 0.5, "seconds": 1.0, "temperature": float("nan"), "names": [1, 2]})
    more.content["extra"] = MetricRecord({"a": 1})
    verdicts = judged([reply(), more], "train", SENT, [None, None])
    assert [sorted(v.content["metrics"]) for v in verdicts if isinstance(v, Message)] == [["num-examples", "train_loss"]] * 2
    assert [sorted(v.content) for v in verdicts if isinstance(v, Message)] == [["arrays", "metrics"]] * 2


def test_examples_lie_within_what_the_node_said_it_holds() -> None:
    verdicts = judged([reply(), reply(), reply()], "train", SENT, [9, 10, 12])
    assert verdicts[0] == Fault("bad-examples", "num-examples is 10, the node reports 9")
    assert all(isinstance(verdict, Message) for verdict in verdicts[1:])


def far(*weights: float, examples: int = 10) -> Message:
    return reply(weights, {**FINE, "num-examples": examples})


def test_a_node_with_many_more_examples_may_go_further() -> None:
    few, small = [far(0.1, 0, 0)] * 2, ArrayRecord({"w": Array(np.full(3, 0.01, np.float32)), "steps": Array(np.array(7))})
    [*_, honest] = judged([*few, far(4, 0, 0, examples=6000)], "train", small, [60_000] * 3)
    assert isinstance(honest, Message)
    [*_, lying] = judged([*few, far(4, 0, 0)], "train", small, [60_000] * 3)
    assert isinstance(lying, Fault)
    [*_, boundless] = judged([*few, far(40, 0, 0, examples=60_000)], "train", small, [60_000] * 3)
    assert isinstance(boundless, Fault)


def test_two_replies_are_held_against_what_was_sent_and_a_small_step_is_never_too_far() -> None:
    sent = ArrayRecord({"w": Array(np.ones(3, np.float32)), "steps": Array(np.array(7))})
    for count in (1, 2):
        verdicts = judged([*[reply([1, 1, 1.1])] * (count - 1), reply([1000, 1000, 1000])], "train", sent, [None] * count)
        assert isinstance(verdicts[-1], Fault), count
    tiny = judged([*[reply([1, 1, 1.0001])] * 3, reply([1, 1, 1.1])], "train", sent, [None] * 4)
    assert all(isinstance(verdict, Message) for verdict in tiny)
    still = judged([*[reply([1, 1, 1])] * 2, reply([1, 2, 1])], "train", sent, [None] * 3)
    assert all(isinstance(verdict, Message) for verdict in still)


def test_judgements_of_a_model_bring_no_arrays() -> None:
    become_server("r")
    fine = MetricRecord({"num-examples": 3, "loss": 0.1, "accuracy": 0.9})
    replies = [Message(RecordDict({"metrics": metrics}), 1, "evaluate") for metrics in (fine, MetricRecord({"num-examples": 3}))]
    assert [getattr(v, "code", "") for v in judged(replies, "evaluate", None, [None, None])] == ["", "bad-metrics"]


def rounds(*outcomes: Mapping[str, str]) -> tuple[FinishedRound, ...]:
    return tuple(
        FinishedRound(
            number=number,
            seconds=1.0,
            weights="sha256:" + "0" * 64,
            participants=tuple(node for node, code in outcome.items() if not code),
            failed={node: code for node, code in outcome.items() if code},
            bytes_down=1,
            bytes_up=1,
            metrics={},
        )
        for number, outcome in enumerate(outcomes, 1)
    )


@pytest.mark.parametrize(
    ("of_a", "out"),
    [
        (["not-finite"], False),
        (["not-finite", "too-far"], True),
        (["not-finite", "", "not-finite"], False),
        (["", "bad-arrays", "bad-arrays"], True),
        (["silent", "silent"], False),  # what nobody heard was not bad
        (["not-finite", "silent", "not-finite"], False),
    ],
)
def test_two_bad_replies_in_a_row_and_a_node_sits_the_run_out(of_a: list[str], out: bool) -> None:
    run = small_run("r", "sha256:" + "0" * 64, finished=rounds(*({"a": code, "b": ""} for code in of_a)))
    assert sitting_out(run) == (("a",) if out else ())
