"""A node that is not sure: what it asks, what it may spend, and that its own answer is given whatever the cloud does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.fleet.v1 import escalation_pb2
from littoral_node.offload.channel import NoAnswer
from littoral_node.offload.offload import AT_ONCE, AWAY_S, PAUSE_S, STARTING_S, Offload, OffloadTerms
from littoral_node.offload.samples import SampleFile
from littoral_node.offload.spending import OffloadBudget, OffloadSpending, refusal, spend
from littoral_node.serving.results import InferenceResult
from littoral_node.serving.service import Service
from littoral_node.serving.slots import Slots
from littoral_node.telemetry.counting import TelemetryWindows
from tests.kit.serving import MODEL, asked_of, served

CLASSES = 3


@dataclass
class Asker:
    """One node with a tiny real model, and a cloud that does what a test wants."""

    folder: Path
    terms: OffloadTerms
    asked: list[escalation_pb2.EscalateRequest] = field(default_factory=list)
    answers: Callable[[escalation_pb2.EscalateRequest], Awaitable[escalation_pb2.EscalateResponse]] | None = None
    connected: bool = True
    metered: bool | None = None
    now: float = 1_000_000.0
    events: list[tuple[str, dict]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slots, self.telemetry = Slots(), TelemetryWindows()
        self.slots.swap(MODEL, served(self.folder / "model"))
        self.service = Service(self.slots, self.telemetry)
        self.hints = SampleFile(self.folder / "samples.jsonl", 100_000)
        self.begin()

    def begin(self) -> None:
        """As when the agent starts."""
        self.service.offload = Offload(
            self.terms,
            self._ask,
            self.hints,
            self.telemetry,
            connected=lambda: self.connected,
            metered=lambda: self.metered,
            clock=lambda: self.now,
            monotonic=lambda: self.now,
            log=lambda event, **fields: self.events.append((event, fields)),
        ).answer

    async def _ask(self, question: escalation_pb2.EscalateRequest, deadline_s: float) -> escalation_pb2.EscalateResponse:
        self.asked.append(question)
        if self.answers is not None:
            return await self.answers(question)
        n = question.shape[0]
        return escalation_pb2.EscalateResponse(logits=np.tile([0.0, 9.0, 0.0], n).tolist(), teacher_name="t")

    async def infer(self, count: int = 1) -> InferenceResult:
        shape = self.slots.get(MODEL).manifest.input.shape
        x = np.random.default_rng(3).integers(0, 255, (count, *shape)).astype(np.uint8)
        return await self.service.infer(MODEL, asked_of(x))


@pytest.fixture
def asker(tmp_path: Path) -> Iterator[Asker]:
    found = Asker(tmp_path, OffloadTerms({MODEL: 1.0}, OffloadBudget(per_minute=1_000)))
    yield found
    found.service.close()
    found.slots.close()


def fails(reason: str) -> Callable[[escalation_pb2.EscalateRequest], Awaitable[escalation_pb2.EscalateResponse]]:
    async def ask(question: escalation_pb2.EscalateRequest) -> escalation_pb2.EscalateResponse:
        raise NoAnswer(reason, "none")

    return ask


async def test_the_teachers_answer_is_given_counted_and_kept_with_the_nodes_own(asker: Asker) -> None:
    answer = await asker.infer(2)
    assert answer.parameters == {"answered_by": "cloud"}
    assert answer.tensors["label"].tolist() == [1, 1]
    assert json.loads(answer.encode()[0])["parameters"] == {"answered_by": "cloud"}
    [question] = asker.asked
    assert (question.model_name, question.datatype, question.shape[0]) == (MODEL, "UINT8", 2)
    [hint] = asker.hints.read()
    assert (hint["teacher_class"], hint["threshold"], len(hint["node_logits"])) == ([1, 1], 1.0, 2)
    assert hint["bytes"] > question.ByteSize()
    assert "inputs" not in hint
    total = asker.telemetry.totals()[MODEL]
    assert (total.requests, total.offload_asked, total.offload_answered) == (1, 1, 1)
    [report] = asker.telemetry.reports(2.0)
    assert (report.offload_asked, report.offload_answered) == (1, 1)


async def test_only_the_examples_that_it_is_not_sure_of_are_sent(asker: Asker) -> None:
    own = await asker.service.inference.answer(
        MODEL,
        asked_of(np.random.default_rng(3).integers(0, 255, (4, *asker.slots.get(MODEL).manifest.input.shape)).astype(np.uint8)),
    )
    logits = own.tensors["logits"]
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = exp.max(axis=1) / exp.sum(axis=1)
    between = float(np.sort(confidence)[2])
    asker.terms = replace(asker.terms, thresholds={MODEL: between})
    asker.begin()
    answer = await asker.infer(4)
    unsure = confidence < between
    assert asker.asked[0].shape[0] == unsure.sum() == 2
    assert answer.parameters == {"answered_by": ",".join("cloud" if u else "node" for u in unsure)}
    np.testing.assert_array_equal(answer.tensors["logits"][~unsure], logits[~unsure])
    assert (answer.tensors["label"][unsure] == 1).all()


async def test_a_model_without_a_threshold_and_one_that_is_sure_ask_nobody(asker: Asker) -> None:
    asker.terms = replace(asker.terms, thresholds={"another": 1.0})
    asker.begin()
    assert (await asker.infer()).parameters == {}
    asker.terms = replace(asker.terms, thresholds={MODEL: 1e-9})
    asker.begin()
    assert (await asker.infer()).parameters == {"answered_by": "node"}
    assert asker.asked == []


async def own_answer(asker: Asker, why: str) -> None:
    asked = len(asker.asked)
    answer = await asker.infer()
    assert answer.parameters == {"answered_by": "node", "offload": why}
    assert len(asker.asked) == asked


async def test_it_does_not_ask_what_it_may_not(asker: Asker) -> None:
    asker.connected = False
    await own_answer(asker, "cloud-away")
    asker.connected, asker.metered = True, True
    await own_answer(asker, "metered")
    asker.terms = replace(asker.terms, on_metered=True)
    asker.begin()
    assert (await asker.infer()).parameters == {"answered_by": "cloud"}


async def test_its_budget_is_held_over_a_restart_and_begins_anew(asker: Asker) -> None:
    asker.terms = replace(asker.terms, budget=OffloadBudget(per_minute=2))
    asker.begin()
    for _ in range(2):
        await asker.infer()
    await own_answer(asker, "minute-spent")
    asker.now += 60
    assert (await asker.infer()).parameters == {"answered_by": "cloud"}
    spent = sum(hint["bytes"] for hint in asker.hints.read())
    asker.terms = replace(asker.terms, budget=OffloadBudget(per_minute=100, bytes_per_day=spent + 10))
    asker.begin()  # the agent was killed: the day's bytes are what the file says
    await own_answer(asker, "day-spent")
    asker.now += 86_400
    assert (await asker.infer()).parameters == {"answered_by": "cloud"}


@pytest.mark.parametrize(
    ("reason", "pause_s"),
    [
        ("teacher-missing", PAUSE_S),
        ("escalation-off", PAUSE_S),
        ("cloud-away", AWAY_S),
        ("teacher-starting", STARTING_S),
        ("deadline", 0),
    ],
)
async def test_a_cloud_that_does_not_answer_is_left_alone_for_a_while(asker: Asker, reason: str, pause_s: float) -> None:
    asker.answers = fails(reason)
    assert (await asker.infer()).parameters == {"answered_by": "node", "offload": reason}
    assert asker.telemetry.totals()[MODEL].offload_asked == 1
    assert asker.telemetry.totals()[MODEL].offload_answered == 0
    asker.answers = None
    if pause_s:
        asker.now += pause_s - 1
        await own_answer(asker, reason)
        asker.now += 2
    assert (await asker.infer()).parameters == {"answered_by": "cloud"}


@pytest.mark.parametrize("logits", [[1.0], [0.0, float("nan"), 0.0], []])
async def test_an_answer_that_is_none_is_not_given(asker: Asker, logits: list[float]) -> None:
    async def nonsense(question: escalation_pb2.EscalateRequest) -> escalation_pb2.EscalateResponse:
        return escalation_pb2.EscalateResponse(logits=logits)

    asker.answers = nonsense
    assert (await asker.infer()).parameters == {"answered_by": "node", "offload": "bad-answer"}
    assert list(asker.hints.read()) == []


async def test_only_so_many_wait_for_the_cloud(asker: Asker) -> None:
    go_on, full = asyncio.Event(), asyncio.Event()

    async def later(question: escalation_pb2.EscalateRequest) -> escalation_pb2.EscalateResponse:
        if len(asker.asked) == AT_ONCE:
            full.set()
        await go_on.wait()
        return escalation_pb2.EscalateResponse(logits=[0.0, 9.0, 0.0])

    asker.answers = later
    waiting = [asyncio.create_task(asker.infer()) for _ in range(AT_ONCE)]
    await full.wait()
    assert (await asker.infer()).parameters == {"answered_by": "node", "offload": "busy"}
    go_on.set()
    assert [answer.parameters["answered_by"] for answer in await asyncio.gather(*waiting)] == ["cloud"] * AT_ONCE


async def test_what_is_too_large_for_a_word_is_not_sent(asker: Asker) -> None:
    assert (await asker.infer(65)).parameters == {"answered_by": "node", "offload": "too-large"}
    assert asker.asked == []


async def test_inputs_are_kept_where_a_setting_says_so_and_the_file_is_bounded(asker: Asker, tmp_path: Path) -> None:
    asker.hints = SampleFile(tmp_path / "few.jsonl", 4_000)
    asker.terms = replace(asker.terms, keep_inputs=True)
    asker.begin()
    for _ in range(30):
        await asker.infer()
    hints = list(asker.hints.read())
    assert 1 <= len(hints) < 30
    assert sum(place.stat().st_size for place in tmp_path.glob("few.jsonl*")) <= 4_000
    inputs = hints[-1]["inputs"]
    assert len(bytes.fromhex(inputs["data"])) == np.prod(inputs["shape"])
    (tmp_path / "few.jsonl").write_bytes((tmp_path / "few.jsonl").read_bytes() + b'{"cut": ')
    assert len(list(asker.hints.read())) == len(hints)


async def test_a_full_disk_costs_the_hint_and_not_the_answer(asker: Asker) -> None:
    asker.hints.add = full  # type: ignore[method-assign]
    assert (await asker.infer()).parameters == {"answered_by": "cloud"}
    assert [event for event, _ in asker.events] == ["sample-not-recorded"]


def full(hint: object) -> None:
    raise OSError(28, "No space left on device")


@given(st.lists(st.tuples(st.floats(0, 200_000), st.integers(0, 3_000)), max_size=60), st.integers(1, 5), st.integers(1, 10_000))
def test_no_minute_and_no_day_is_overspent(questions: list[tuple[float, int]], per_minute: int, per_day: int) -> None:
    allowance, spent = OffloadBudget(per_minute, per_day), OffloadSpending()
    minutes: dict[int, int] = {}
    days: dict[int, int] = {}
    for at, size in sorted(questions):
        if not refusal(spent, allowance, size, at):
            spent = spend(spent, size, at)
            minutes[int(at // 60)] = minutes.get(int(at // 60), 0) + 1
            days[int(at // 86_400)] = days.get(int(at // 86_400), 0) + size
    assert all(count <= per_minute for count in minutes.values())
    assert all(size <= per_day for size in days.values())
