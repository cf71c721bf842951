"""How long one inference takes here, of several artifacts in one run: the machine's other load meets all of them alike.

An absolute figure wanders with the machine, and by a factor of two on a shared one; what is compared is measured in turns, round
by round, and of each figure the median over the rounds counts.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from littoral.errors import BadInput, RuntimeFailure
from littoral_cloud.export import ncnn
from littoral_cloud.export.exported import OUTPUT_NAME, Exported, Prepared

WARM = 50
"""Inferences of each artifact that are thrown away first: a runtime's first ones pack weights and find memory."""

One = Callable[[Prepared], Any]
"""One inference of one prepared input, (1, *input.shape)."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one inference, batch 1, one thread: medians over the rounds of each round's percentile."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    rounds: int
    inferences: int  # in all, without those that warmed up

    def resolved(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def compare(
    artifacts: Mapping[str, Exported],
    prepared: Prepared,
    *,
    rounds: int = 9,
    each: int = 300,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Latency]:
    """Times the artifacts in turns, in this process, each in its own runtime on one thread.

    Args:
        prepared: inputs as the models take them, (n, *input.shape); used one after another.
        rounds: in each, every artifact has its turn; whose turn is first moves on from round to round.
        each: inferences of one turn; a p99 wants some hundred.
        clock: gives seconds.

    Raises:
        BadInput: no artifact, no input, no round. RuntimeFailure: an artifact does not run; names it.
    """
    if not artifacts or not len(prepared) or rounds < 1 or each < 1:
        raise BadInput(
            f"latency: {len(artifacts)} artifacts, {len(prepared)} inputs, {rounds} rounds of {each} inferences",
            hint="at least one of each",
        )
    inputs = [np.ascontiguousarray(prepared[i : i + 1]) for i in range(min(len(prepared), each))]
    names = list(artifacts)
    seen: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    with ExitStack() as open_ones:
        ones = {name: open_ones.enter_context(opened(name, artifact)) for name, artifact in artifacts.items()}
        for one in ones.values():
            for i in range(WARM):
                one(inputs[i % len(inputs)])
        for number in range(rounds):
            for turn in range(len(names)):
                name = names[(number + turn) % len(names)]
                seen[name].append(_turn(ones[name], inputs, each, clock))
    return {name: _latency(turns, each) for name, turns in seen.items()}


def _turn(one: One, inputs: list[Prepared], each: int, clock: Callable[[], float]) -> tuple[float, ...]:
    """p50, p95 and p99 of one turn; seconds."""
    one(inputs[0])  # another artifact's weights were in the cache until now
    taken = []
    for i in range(each):
        x = inputs[i % len(inputs)]
        began = clock()
        one(x)
        taken.append(clock() - began)
    return tuple(float(value) for value in np.percentile(taken, (50, 95, 99)))


def _latency(turns: list[tuple[float, ...]], each: int) -> Latency:
    p50, p95, p99 = (float(np.median([turn[i] for turn in turns])) * 1000 for i in range(3))
    return Latency(p50, p95, p99, len(turns), len(turns) * each)


@contextmanager
def opened(name: str, artifact: Exported) -> Iterator[One]:
    """An artifact loaded in its runtime, on one thread, with the options that a node loads it with. Raises RuntimeFailure."""
    if artifact.runtime not in _OPENERS:
        raise RuntimeFailure(
            f"latency: {name} wants {artifact.runtime!r}, which is not timed here", hint=f"{', '.join(_OPENERS)}"
        )
    with _OPENERS[artifact.runtime](name, artifact) as one:
        yield one


@contextmanager
def _onnxruntime(name: str, artifact: Exported) -> Iterator[One]:
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    (data,) = artifact.files.values()
    try:
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RuntimeFailure(f"latency: onnxruntime cannot load {name}: {error}") from error
    given = session.get_inputs()[0].name
    yield lambda x: session.run([OUTPUT_NAME], {given: x})


@contextmanager
def _ncnn(name: str, artifact: Exported) -> Iterator[One]:
    with ncnn.opened(artifact, name=name) as one:
        yield lambda x: one(x[0])


_OPENERS = {"onnxruntime": _onnxruntime, "ncnn": _ncnn}
