"""Nodes that keep failing are left out by a coordinator, and by an operator, over a real ledger."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from littoral.errors import BadInput
from littoral_cloud.federation.participants import TooFewNodes, following
from littoral_cloud.federation.run import KIND as RUN
from littoral_cloud.federation.run import FinishedRound, Run, RunState
from littoral_cloud.fleet.ledger import Change, Ledger, Write
from littoral_cloud.fleet.nodes import view_nodes
from littoral_cloud.fleet.profile import stored
from littoral_cloud.fleet.quarantine import KIND, NodeTrouble, QuarantinePolicy
from littoral_cloud.fleet.records import (
    Desired,
    DesiredModel,
    Enrolment,
    Node,
    Presence,
    Reported,
    ReportedModel,
    UpdateState,
    dump,
    load,
)
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.quarantine.commands import end_quarantine, quarantine
from littoral_cloud.quarantine.controller import QuarantineController
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState, assignment_id
from littoral_cloud.rollouts.judge import SILENT
from littoral_cloud.rollouts.seen_fleet import RECORDS, SeenFleet

pytest_plugins = ("tests.kit.redis",)
DIGEST = f"sha256:{'a' * 64}"


class Shop:
    """A ledger, a view and the controller, with a clock that the test moves."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.now = ledger, 1_000.0
        self.view = FleetView(ledger, {**RECORDS, RUN: Run})
        self.fleet = SeenFleet(self.view)
        policy = QuarantinePolicy(failures=3, within_s=100.0, lasts_s=50.0)
        self.controller = QuarantineController(ledger, self.view, policy, lambda: self.now, random.Random(1))

    async def node(self, id: str) -> None:
        node = Node(
            node_id=id,
            name=f"name-{id}",
            enrolment=Enrolment.ACCEPTED,
            public_key_sha256="",
            certificate_sha256="",
            certificate_expires_at=1e12,
            enrolled_at=0.0,
        )
        presence = Presence(
            connected=True,
            since=1.0,
            boot_id="0" * 32,
            protocol_version=1,
            features=("federated",),
            labelled_examples={"digits": 50},
        )
        session, profile = stored(presence)
        bodies = {"node": dump(node), "presence": session, "profile": profile}
        await self.ledger.commit(Change(tuple(Write(kind, id, body, 0) for kind, body in bodies.items())))

    async def fails(self, id: str, rollout: str, generation: int, reason: str = "no-space") -> None:
        wanted = DesiredModel(manifest_digest=DIGEST, rollout_id=rollout, generation=generation)
        await self._write("desired", id, dump(Desired(models={"digits": wanted})))
        model = ReportedModel(state=UpdateState.FAILED, desired_generation=generation, target=DIGEST, reason=reason)
        await self._write("reported", id, dump(Reported(generation=generation, observed_generation=1, models={"digits": model})))

    async def _write(self, kind: str, id: str, body: dict[str, object]) -> None:
        await self.ledger.commit(Change((Write(kind, id, body, None),)))
        await self.view.catch_up()  # as a coordinator that is not behind

    async def trouble(self, id: str) -> NodeTrouble:
        await self.view.catch_up()
        await self.controller.advance(None)
        doc = await self.ledger.get(KIND, id)
        return load(NodeTrouble, doc) if doc else NodeTrouble()

    async def lines(self) -> list[tuple[str, str]]:
        return [(line.action, line.actor) for line in await self.ledger.audit()]


@asynccontextmanager
async def open_shop(ledger: Ledger) -> AsyncIterator[Shop]:
    made = Shop(ledger)
    task = asyncio.create_task(made.view.run())
    try:
        await made.view.ready()
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_node_that_fails_in_three_rollouts_is_left_out_of_updates_and_rounds_until_its_time_is_over(
    ledger: Ledger,
) -> None:
    async with open_shop(ledger) as shop:
        await shop.node("a")
        await shop.node("b")
        for n in range(3):
            assert (await shop.trouble("a")).quarantine is None
            await shop.fails("a", f"digits-{n}-r1", n + 1)
        await shop.fails("b", "digits-0-r1", 1)
        trouble = await shop.trouble("a")
        assert [each.of for each in trouble.failures] == ["digits-0-r1", "digits-1-r1", "digits-2-r1"]
        assert trouble.quarantine is not None
        assert trouble.quarantine.until == 1_050.0
        await shop.view.catch_up()
        assert shop.fleet.nodes["a"].quarantine == trouble.quarantine
        assert shop.fleet.nodes["b"].quarantine is None
        async with following(ledger) as participants:
            assert await participants.gather_nodes("digits", (), at_least=1, hoped=(), within_s=0.0) == ("b",)
            with pytest.raises(TooFewNodes):
                await participants.gather_nodes("digits", ("a",), at_least=1, hoped=(), within_s=0.0)
        states = {view.node.node_id: view.state for view in await view_nodes(ledger, shop.now)}
        assert states == {"a": "online, quarantined", "b": "online"}
        shop.now = 1_050.0
        assert (await shop.trouble("a")).quarantine is None
        async with following(ledger) as participants:
            assert await participants.gather_nodes("digits", (), at_least=1, hoped=(), within_s=0.0) == ("a", "b")
        assert await shop.lines() == [("node.quarantined", "quarantine"), ("node.quarantine-ended", "quarantine")]


async def test_what_failed_counts_once_over_a_restart_and_also_where_the_rollout_has_taken_it_back_since(ledger: Ledger) -> None:
    async with open_shop(ledger) as shop:
        await shop.node("a")
        await shop.fails("a", "digits-1-r1", 1)
        assert len((await shop.trouble("a")).failures) == 1
    async with open_shop(ledger) as again:
        await again.fails("a", "digits-2-r1", 2)
        back = DesiredModel(manifest_digest=DIGEST, rollout_id="digits-2-r1", generation=3)
        await ledger.commit(Change((Write("desired", "a", dump(Desired(models={"digits": back})), None),)))
        assert [each.of for each in (await again.trouble("a")).failures] == ["digits-1-r1", "digits-2-r1"]


async def test_silence_in_a_wave_and_on_the_way_back_counts_under_its_rollout(ledger: Ledger) -> None:
    def assignment(node_id: str, state: AssignmentState, why: str = "") -> Write:
        planned = Assignment(rollout_id="digits-1-r1", node_id=node_id, manifest_digest=DIGEST, name="a", previous="", at=1_000.0)
        return Write(ASSIGNMENT, assignment_id("digits-1-r1", node_id), dump(replace(planned, state=state, why=why)), 0)

    async with open_shop(ledger) as shop:
        ends = (assignment("a", AssignmentState.FAILED, SILENT), assignment("b", AssignmentState.RESTORED))
        await ledger.commit(Change((*ends, assignment("c", AssignmentState.FAILED, "could not go back: ROLLED_BACK"))))
        assert [(each.of, each.reason) for each in (await shop.trouble("a")).failures] == [
            ("digits-1-r1", "was silent for too long")
        ]
        assert await ledger.get(KIND, "b") is None
        assert await ledger.get(KIND, "c") is None, "that one reports it"


async def test_replies_that_cannot_be_used_count_and_silence_does_not(ledger: Ledger) -> None:
    async with open_shop(ledger) as shop:
        await shop.node("a")
        finished = FinishedRound(
            number=1,
            seconds=1.0,
            weights=DIGEST,
            participants=(),
            failed={"a": "not-finite", "b": "silent"},
            bytes_down=0,
            bytes_up=0,
            metrics={},
        )
        run = Run(
            run_id="run-1",
            model="digits",
            strategy="fedavg",
            rounds=2,
            local_epochs=1,
            learning_rate=0.1,
            batch_size=1,
            seed=1,
            architecture={},
            input={},
            classes=2,
            base_weights=DIGEST,
            state=RunState.RUNNING,
            finished=(finished, replace(finished, number=2)),
        )
        await ledger.commit(Change((Write(RUN, "run-1", dump(run), 0),)))
        assert [each.of for each in (await shop.trouble("a")).failures] == ["run-1 round 1", "run-1 round 2"]
        assert await ledger.get(KIND, "b") is None


async def test_an_operator_puts_a_node_in_quarantine_and_ends_it_and_both_are_audited(ledger: Ledger) -> None:
    async with open_shop(ledger) as shop:
        await shop.node("a")
        await quarantine(ledger, "name-a", shop.now, reason="its disk is worn", actor="anna")
        with pytest.raises(BadInput, match="is in quarantine by anna: its disk is worn"):
            await quarantine(ledger, "a", shop.now, reason="again", actor="ben")
        shop.now += 1e9
        assert (await shop.trouble("a")).quarantine is not None, "it has no end"
        await end_quarantine(ledger, "a", shop.now, actor="ben")
        with pytest.raises(BadInput, match="is not in quarantine"):
            await end_quarantine(ledger, "a", shop.now, actor="ben")
        with pytest.raises(BadInput, match="--hours"):
            await quarantine(ledger, "a", shop.now, reason="", actor="anna", lasts_s=0.0)
        assert (await shop.trouble("a")).quarantine is None
        assert await shop.lines() == [("node.quarantined", "anna"), ("node.quarantine-ended", "ben")]
