"""Replies of a round judged one by one, before a strategy mixes them: a bad one is its node's failure, with a code.

A reply must hold the arrays that were sent, by name, shape and type, all finite; known metrics, finite; and examples that its
node can have. Its update is compared with the round's: one many times as long as the median one would be the next
model alone (the bound of Z. Sun et al.: Can You Really Backdoor Federated Learning?, 2019, https://arxiv.org/abs/1911.07963,
taken from the round itself). Metrics that this cloud does not know are passed over: a newer agent may report more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_high
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from littoral_cloud.federation.faults import BAD_ARRAYS, BAD_EXAMPLES, BAD_METRICS, BAD_REPLY, NOT_FINITE, TOO_FAR, Fault

ARRAYS, METRICS, EXAMPLES = "arrays", "metrics", "num-examples"
NEEDED: Mapping[str, tuple[str, ...]] = {"train": ("train_loss",), "evaluate": ("loss",)}
KNOWN: Mapping[str, tuple[str, ...]] = {"train": ("accuracy_before", "seconds"), "evaluate": ("accuracy", "seconds")}
"""By message type: metrics that a reply must have, and those that it may have."""

TIMES = 10.0
"""An update may be this many times as long as the median one, and that many times again for a node with many more examples."""
SMALL = 0.1
"""Of the length of what was sent: an update up to here does no harm."""
MANY = 1_000
"""How many times the median a node may have in examples, where it did not report how many it has."""
FEWEST = 3
"""With fewer replies a median means nothing: an update is then compared with what was sent."""


Values = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Reply:
    examples: int
    metrics: Mapping[str, float]
    moved: float  # length of its update


class _Refused(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(code, detail)


def judged(
    replies: Sequence[Message], kind: str, sent: ArrayRecord | None, reported: Sequence[int | None]
) -> list[Message | Fault]:
    """Each reply, in their order, as a strategy may have it: arrays and known metrics alone; or what is wrong with it.

    Args:
        kind: "train" or "evaluate".
        sent: arrays that every node was given; None: the replies bring none back.
        reported: examples that each one's node reports; None: it reports none.
    """
    wanted = None if sent is None else {name: np.asarray(array.numpy()) for name, array in sent.items()}
    found = [_looked_at(reply, kind, wanted, most) for reply, most in zip(replies, reported, strict=True)]
    good = [reply for reply in found if isinstance(reply, _Reply)]
    scale = _length(wanted.values()) if wanted is not None else 0.0
    verdicts: list[_Reply | Fault] = [
        reply if isinstance(reply, Fault) else _beside_others(reply, good, scale, known=most is not None)
        for reply, most in zip(found, reported, strict=True)
    ]
    named = [set(verdict.metrics) for verdict in verdicts if isinstance(verdict, _Reply)]
    common = set.intersection(*named) if named else set()
    return [
        verdict if isinstance(verdict, Fault) else _cleaned(reply, verdict, common, arrays=sent is not None)
        for reply, verdict in zip(replies, verdicts, strict=True)
    ]


def _looked_at(reply: Message, kind: str, sent: Values | None, most: int | None) -> _Reply | Fault:
    try:
        if reply.has_error():
            raise _Refused(BAD_REPLY, str(reply.error.reason))
        moved = _moved(reply.content.get(ARRAYS), sent) if sent is not None else 0.0
        record = reply.content.get(METRICS)
        if not isinstance(record, MetricRecord):
            raise _Refused(BAD_METRICS, f"no MetricRecord {METRICS!r}")
        return _Reply(_examples(record, most), _metrics(record, kind), moved)
    except _Refused as refused:
        return refused.fault


def _moved(record: object, sent: Values) -> float:
    if not isinstance(record, ArrayRecord):
        raise _Refused(BAD_ARRAYS, f"no ArrayRecord {ARRAYS!r}")
    if odd := sorted(set(record) ^ set(sent)):
        verb = "is missing" if odd[0] in sent else "was not sent"
        raise _Refused(BAD_ARRAYS, f"{odd[0][:80]} {verb}, of {len(odd)} names that differ")
    squares = 0.0
    for name, wanted in sent.items():
        value = _value(name, record[name], wanted)
        if value.dtype.kind == "f":
            if not np.isfinite(value).all():
                raise _Refused(NOT_FINITE, f"{name} holds values that are not finite")
            squares += float(np.square(value.astype(np.float64) - wanted).sum())
    return math.sqrt(squares)


def _value(name: str, array: Array, wanted: npt.NDArray[Any]) -> npt.NDArray[Any]:
    shape, kind = wanted.shape, str(wanted.dtype)
    try:
        if (tuple(array.shape), array.dtype) != (shape, kind):
            raise _Refused(BAD_ARRAYS, f"{name} is {array.dtype} {tuple(array.shape)}, was sent as {kind} {shape}")
        value = np.asarray(array.numpy())
    except (ValueError, TypeError, OSError, EOFError, SyntaxError, MemoryError) as error:
        raise _Refused(BAD_ARRAYS, f"{name} cannot be read: {type(error).__name__}: {str(error)[:200]}") from error
    if value.shape != shape or value.dtype != wanted.dtype:
        raise _Refused(BAD_ARRAYS, f"{name} holds {value.dtype} {value.shape}, was sent as {kind} {shape}")
    return value


def _examples(record: MetricRecord, most: int | None) -> int:
    count = _number(record, EXAMPLES, BAD_EXAMPLES)
    if count != int(count) or count < 1:
        raise _Refused(BAD_EXAMPLES, f"{EXAMPLES} is {count}, must be a whole number from 1")
    if most is not None and count > most:
        raise _Refused(BAD_EXAMPLES, f"{EXAMPLES} is {int(count)}, the node reports {most}")
    return int(count)


def _metrics(record: MetricRecord, kind: str) -> dict[str, float]:
    names = (*NEEDED[kind], *(name for name in KNOWN[kind] if name in record))
    return {name: _number(record, name, BAD_METRICS) for name in names}


def _number(record: MetricRecord, name: str, code: str) -> float:
    value = record.get(name)
    if value is None:
        raise _Refused(code, f"{name} is missing")
    if isinstance(value, list):
        raise _Refused(code, f"{name} is a list, must be one number")
    try:
        number = float(value)
    except OverflowError as error:
        raise _Refused(code, f"{name} is too large") from error
    if not math.isfinite(number):
        raise _Refused(NOT_FINITE, f"{name} is {value}")
    return number


def _beside_others(reply: _Reply, good: Sequence[_Reply], scale: float, *, known: bool) -> _Reply | Fault:
    usual, many = median_high(r.moved for r in good), median_high(r.examples for r in good)
    alone = len(good) < FEWEST
    if not alone and not known and reply.examples > MANY * many:
        return Fault(BAD_EXAMPLES, f"{EXAMPLES} is {reply.examples}, the median of the round is {many}")
    if alone or usual == 0:
        limit = TIMES * scale if scale > 0 else math.inf
        beside = f"what was sent has {scale:.3g}"
    else:
        # Twice the steps go less than twice as far.
        limit = max(TIMES * usual * min(TIMES, math.sqrt(max(1.0, reply.examples / many))), SMALL * scale)
        beside = f"the median of the round is {usual:.3g}"
    if reply.moved > limit:
        return Fault(TOO_FAR, f"its update has length {reply.moved:.3g}, {beside}, at most {limit:.3g} is taken")
    return reply


def _length(arrays: Iterable[npt.NDArray[Any]]) -> float:
    floats = (array.astype(np.float64) for array in arrays if array.dtype.kind == "f")
    return math.sqrt(sum(float(np.square(value).sum()) for value in floats))


def _cleaned(reply: Message, judgement: _Reply, common: set[str], *, arrays: bool) -> Message:
    metrics: dict[str, int | float] = {name: value for name, value in judgement.metrics.items() if name in common}
    content = RecordDict({METRICS: MetricRecord({EXAMPLES: judgement.examples, **metrics})})
    if arrays:
        content[ARRAYS] = reply.content[ARRAYS]
    reply.content = content
    return reply
