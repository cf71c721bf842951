"""Sessions over real gRPC, real certificates and a real Redis."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from littoral.fleet.v1 import hardware_pb2, session_pb2
from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral.transport import MAX_MESSAGE_BYTES
from littoral_cloud.api.pushes import Pushes
from littoral_cloud.api.session import CoordinatorSession
from littoral_cloud.api.session_refusals import DRAIN_RETRY_S
from littoral_cloud.fleet import turns
from littoral_cloud.fleet.ledger import Change, Ledger, Write
from littoral_cloud.fleet.nodes import view_nodes
from littoral_cloud.fleet.records import Desired, DesiredModel, FederatedTask
from littoral_cloud.fleet.sessions import MAX_GENERATION, MAX_JUMP
from littoral_cloud.fleet.turns import WELCOMES_A_SECOND
from tests.kit.certificates import Authority
from tests.kit.fleet import Fleet, open_fleet
from tests.kit.node_client import BOOT, Line, hello_word
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis",)

MANIFEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
REASON = session_pb2.RefusalReason


@pytest.fixture
async def fleet(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(ledger, tmp_path / "blobs") as opened:
        yield opened


async def refusal_of(line: Line) -> Any:
    """The refusal that the stream ends with, in order and without an error."""
    refusal = await line.hear("refusal")
    assert await line.ended() is grpc.StatusCode.OK
    return refusal


# -- the door ----------------------------------------------------------------------------------------------------------


async def test_a_node_is_welcomed_is_present_and_hears_what_should_be(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    generation = await fleet.want(
        "n1", Desired(models={"digits": DesiredModel(manifest_digest=MANIFEST, rollout_id="r", generation=3)})
    )
    async with fleet.client(credential) as client:
        budgets = {"": session_pb2.Budget(artifact_bytes=20_000, runtimes=["ncnn"])}
        line = await client.begin(budgets=budgets, labelled_examples={"digits": 40}, features=["federated"])
        assert line.desired is not None
        assert line.desired.generation == generation
        assert line.desired.models["digits"].manifest_digest == MANIFEST
        presence = (await fleet.until("presence", "n1", connected=True)).body
        assert presence["boot_id"] == BOOT
        profile = (await fleet.until("profile", "n1")).body
        assert profile["labelled_examples"] == {"digits": 40}
        assert profile["budgets"][""]["artifact_bytes"] == 20_000
        # Files come to a node while its session is open; a word without a count, as older agents say it, changes none.
        await line.say(budget_change=session_pb2.BudgetChange(budgets=budgets, labelled_examples={"digits": 41}))
        await fleet.until("profile", "n1", labelled_examples={"digits": 41})
        await line.say(budget_change=session_pb2.BudgetChange())
        assert (await fleet.until("profile", "n1", budgets={})).body["labelled_examples"] == {"digits": 41}
    await fleet.until("presence", "n1", connected=False)


async def test_a_certificate_of_an_unknown_authority_does_not_get_past_the_handshake(fleet: Fleet) -> None:
    await fleet.enrol("n1")
    async with fleet.client(Authority().issue("n1")) as client:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.open().say(hello=hello_word())
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_without_a_certificate_nobody_gets_past_the_handshake(fleet: Fleet) -> None:
    async with fleet.client(None) as client:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.open().say(hello=hello_word())
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_of_ours_that_no_node_has_is_told_so(fleet: Fleet) -> None:
    async with fleet.client(fleet.authority.issue("ghost")) as client:
        line = client.open()
        await line.say(hello=hello_word())
        refusal = await refusal_of(line)
    assert (refusal.reason, refusal.retry_after_s) == (REASON.REFUSAL_REASON_NODE_UNKNOWN, 0)
    assert "enrol this machine again" in refusal.detail


async def test_a_certificate_of_another_key_with_a_nodes_name_is_refused(fleet: Fleet) -> None:
    await fleet.enrol("n1")
    async with fleet.client(fleet.authority.issue("n1")) as client:
        line = client.open()
        await line.say(hello=hello_word())
        assert (await refusal_of(line)).reason == REASON.REFUSAL_REASON_NODE_UNKNOWN


async def test_an_expired_certificate_is_refused_though_its_connection_is_open(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1", expires_at=fleet.clock() + 1000)
    async with fleet.client(credential) as client:
        await client.begin()
        fleet.clock.added_s = 2000
        line = client.open()
        await line.say(hello=hello_word())
        refusal = await refusal_of(line)
        assert refusal.reason == REASON.REFUSAL_REASON_CERTIFICATE_EXPIRED


async def test_a_session_ends_when_its_certificate_expires(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1", expires_at=float(int(fleet.clock()) + 1000))
    fleet.clock.added_s = 998.5
    async with fleet.client(credential) as client:
        refusal = await refusal_of(await client.begin())
        assert refusal.reason == REASON.REFUSAL_REASON_CERTIFICATE_EXPIRED


async def test_a_protocol_that_is_not_spoken_is_refused_with_those_that_are(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    async with fleet.client(credential) as client:
        line = client.open()
        await line.say(hello=hello_word(protocol_version=99))
        refusal = await refusal_of(line)
    assert refusal.reason == REASON.REFUSAL_REASON_PROTOCOL_UNSUPPORTED
    assert (refusal.protocol_min, refusal.protocol_max) == (1, 1)
    assert refusal.retry_after_s > 0


@pytest.mark.parametrize("boot_id", ["", "x", "A" * 32, "a" * 33, "\x1b[31mred\0", "a" * 31 + "\n"])
async def test_a_boot_that_is_no_32_hex_digits_is_refused_by_name(fleet: Fleet, boot_id: str) -> None:
    credential = await fleet.enrol("n1")
    async with fleet.client(credential) as client:
        line = client.open()
        await line.say(hello=hello_word(boot_id=boot_id))
        refusal = await refusal_of(line)
    assert refusal.reason == REASON.REFUSAL_REASON_PROTOCOL_VIOLATION
    assert "hello.boot_id" in refusal.detail
    assert await fleet.ledger.get("presence", "n1") is None


async def test_the_first_message_must_be_hello(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    async with fleet.client(credential) as client:
        line = client.open()
        await line.say(heartbeat=session_pb2.Heartbeat(sequence=1))
        refusal = await refusal_of(line)
    assert refusal.reason == REASON.REFUSAL_REASON_PROTOCOL_VIOLATION
    assert "hello" in refusal.detail


# -- while it is open --------------------------------------------------------------------------------------------------


async def test_what_should_be_goes_down_when_it_is_written_and_to_that_node_only(fleet: Fleet) -> None:
    first, second = await fleet.enrol("n1"), await fleet.enrol("n2")
    async with fleet.client(first) as one, fleet.client(second) as two:
        line, other = await one.begin(), await two.begin()
        generation = await fleet.want("n1", Desired(benchmarks=(MANIFEST,)))
        desired = await line.hear("desired")
        assert (desired.generation, list(desired.benchmarks)) == (generation, [MANIFEST])
        await other.say(heartbeat=session_pb2.Heartbeat(sequence=5))
        assert (await other.hear("heartbeat")).sequence == 5
        assert other.desired is not None
        assert other.desired.generation == 0


async def handed(fleet: Fleet, model: str, generation: int) -> Mapping[str, Any]:
    """What a session of n1 was handed, once this intent is in it."""
    async with asyncio.timeout(PATIENCE_S), fleet.ledger.watch("handed") as news:
        while True:
            doc = await fleet.ledger.get("handed", "n1")
            if doc is not None and doc.body["models"].get(model, {}).get("generation") == generation:
                models: Mapping[str, Any] = doc.body["models"]
                return models
            await anext(news)


async def test_when_a_session_was_handed_an_intent_is_written_once_and_not_again_by_the_next_session(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    wanted = DesiredModel(manifest_digest=MANIFEST, rollout_id="r", generation=3)
    await fleet.want("n1", Desired(models={"digits": wanted}))
    assert await fleet.ledger.get("handed", "n1") is None, "nothing was handed to a node that is not there"
    before = fleet.clock()
    async with fleet.client(credential) as client:
        line = await client.begin()
        first = (await handed(fleet, "digits", 3))["digits"]
        assert before <= first["at"] <= fleet.clock()
        await fleet.want("n1", Desired(models={"digits": replace(wanted, generation=4)}))
        await line.hear("desired")
        second = (await handed(fleet, "digits", 4))["digits"]
        assert second["at"] >= first["at"]
    async with fleet.client(credential) as client:
        await client.begin(boot_id="e" * 32)
        await fleet.want("n1", Desired(models={"digits": replace(wanted, generation=4), "faces": replace(wanted, generation=1)}))
        assert (await handed(fleet, "faces", 1))["digits"] == second


async def test_a_session_that_has_ended_is_freed_without_the_collector(fleet: Fleet) -> None:
    """Else thousands of connections stay in memory for a while after each herd."""
    credential, freed = await fleet.enrol("n1"), asyncio.Event()
    gc.collect()
    gc.disable()
    try:
        async with fleet.client(credential) as client:
            await client.begin()
            weakref.finalize(next(each for each in gc.get_objects() if type(each) is CoordinatorSession), freed.set)
        await fleet.until("presence", "n1", connected=False)
        async with asyncio.timeout(PATIENCE_S):
            await freed.wait()
    finally:
        gc.enable()


async def test_the_newest_session_of_a_node_takes_over(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    async with fleet.client(credential) as old_client, fleet.client(credential) as new_client:
        old = await old_client.begin()
        new = await new_client.begin(boot_id="f" * 32)
        assert (await refusal_of(old)).reason == REASON.REFUSAL_REASON_SUPERSEDED
        await new.say(heartbeat=session_pb2.Heartbeat(sequence=1))
        await new.hear("heartbeat")
        await fleet.until("presence", "n1", connected=True, boot_id="f" * 32)


async def test_a_node_that_is_decommissioned_is_told_in_its_open_session(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    async with fleet.client(credential) as client:
        line = await client.begin()
        await fleet.decommission("n1")
        refusal = await refusal_of(line)
    assert refusal.reason == REASON.REFUSAL_REASON_NODE_REVOKED
    async with asyncio.timeout(PATIENCE_S), fleet.ledger.watch("presence") as news:
        while await fleet.ledger.get("presence", "n1") is not None:  # nothing is kept of it
            await anext(news)


async def test_a_silent_node_is_given_up_after_three_intervals(ledger: Ledger, tmp_path: Path) -> None:
    async with open_fleet(ledger, tmp_path / "blobs", heartbeat_s=0.1) as fleet:
        credential = await fleet.enrol("n1")
        async with fleet.client(credential) as client:
            refusal = await refusal_of(await client.begin())
        assert refusal.reason == REASON.REFUSAL_REASON_UNAVAILABLE
        assert "0.3 s" in refusal.detail
        await fleet.until("presence", "n1", connected=False)


async def test_reported_state_is_kept_when_newer_and_every_move_is_in_the_trail(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")

    def report(generation: int, state: int) -> session_pb2.ReportedState:
        model = session_pb2.ReportedModel(
            state=state, desired_generation=1, target_manifest_digest=MANIFEST, reason="accuracy-drop" if state == 7 else ""
        )
        return session_pb2.ReportedState(generation=generation, observed_generation=1, models={"digits": model})

    async with fleet.client(credential) as client:
        line = await client.begin()
        await line.say(reported=report(2, session_pb2.UPDATE_STATE_PROBATION))
        await line.say(reported=report(1, session_pb2.UPDATE_STATE_DOWNLOADING))
        await line.say(reported=report(3, session_pb2.UPDATE_STATE_PROBATION))
        await line.say(reported=report(4, session_pb2.UPDATE_STATE_ROLLED_BACK))
        doc = await fleet.until("reported", "n1", generation=4)
    assert doc.body["models"]["digits"]["state"] == "ROLLED_BACK"
    trail = await fleet.ledger.audit()
    assert [entry.action for entry in trail] == ["update.probation", "update.rolled-back"]
    assert trail[1].details["reason"] == "accuracy-drop"


async def test_a_report_waits_while_desired_states_go_down_and_a_heartbeat_does_not(fleet: Fleet) -> None:
    fleet.hub.pushes = Pushes(most_s=3600.0, quiet_s=0.0)
    credential = await fleet.enrol("n1")
    async with fleet.client(credential) as client:
        line = await client.begin()
        with fleet.hub.pushes.pending():  # of another node
            await line.say(reported=session_pb2.ReportedState(generation=5))
            await line.say(heartbeat=session_pb2.Heartbeat(sequence=5))
            assert (await line.hear("heartbeat")).sequence == 5
            generation = await fleet.want("n1", Desired(benchmarks=(MANIFEST,)))
            assert (await line.hear("desired")).generation == generation
            assert await fleet.ledger.get("reported", "n1") is None
        await fleet.until("reported", "n1", generation=5)


async def test_a_number_that_was_too_large_in_one_boot_makes_the_node_deaf_in_no_other(fleet: Fleet) -> None:
    """Whoever had the node's identity for a moment, or a clock that was a year ahead, says nothing for the node for ever."""
    credential = await fleet.enrol("n1")
    async with fleet.client(credential) as client:
        ahead = await client.begin(boot_id="e" * 32)
        await ahead.say(reported=session_pb2.ReportedState(generation=MAX_GENERATION, problem="ahead"))
        await fleet.until("reported", "n1", problem="ahead")
        line = await client.begin()
        for generation, problem in ((7, "first"), (8, "second"), (8, "again")):
            await line.say(reported=session_pb2.ReportedState(generation=generation, problem=problem))
        await fleet.until("reported", "n1", problem="second")
        await line.say(reported=session_pb2.ReportedState(generation=9, problem="third"))
        doc = await fleet.until("reported", "n1", problem="third")
    assert (doc.generation, doc.body["generation"], doc.body["boot_id"]) == (4, 9, BOOT)


@pytest.mark.parametrize("generation", [2**64 - 1, MAX_GENERATION + 1, 5 + MAX_JUMP + 1])
async def test_a_number_that_jumps_is_refused_with_both_and_kept_from_the_ledger(fleet: Fleet, generation: int) -> None:
    credential = await fleet.enrol("n1")
    async with fleet.client(credential) as client:
        line = await client.begin()
        await line.say(reported=session_pb2.ReportedState(generation=5))
        await fleet.until("reported", "n1", generation=5)
        await line.say(reported=session_pb2.ReportedState(generation=generation))
        refusal = await refusal_of(line)
        assert refusal.reason == REASON.REFUSAL_REASON_PROTOCOL_VIOLATION
        assert refusal.detail.startswith(f"reported.generation: {generation} ")
        again = await client.begin()
        await again.say(reported=session_pb2.ReportedState(generation=6))
        await fleet.until("reported", "n1", generation=6)


async def test_what_a_node_says_of_itself_is_kept_without_what_steers_a_terminal(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    model = session_pb2.ReportedModel(reason="\x1b[31m", detail="two\nlines", incident="\x07" * 9_000)
    async with fleet.client(credential) as client:
        line = await client.begin(
            features=["a\0b"],
            hardware=hardware_pb2.HardwareProfile(
                machine="\x1b]0;title\x07", isa=["av\u202ex2"], runtimes=[hardware_pb2.Runtime(name="onnx\rruntime")]
            ),
        )
        await line.say(reported=session_pb2.ReportedState(generation=1, problem="\x9b2J", models={"digits": model}))
        reported = (await fleet.until("reported", "n1", generation=1)).body
        presence = [(await fleet.until(kind, "n1")).body for kind in ("presence", "profile")]
    assert (reported["problem"], reported["models"]["digits"]["reason"]) == ("\\x9b2J", "\\x1b[31m")
    assert reported["models"]["digits"]["detail"] == "two\\x0alines"
    for text in (*texts_in(reported), *texts_in(presence)):
        assert text.isprintable()
        assert len(text) <= 2_000


def texts_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for part in parts for text in texts_in(part)]


async def test_only_artifacts_of_this_cloud_can_be_measured(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    await fleet.ledger.commit(Change((Write("artifact", MANIFEST, {}, 0),)))
    async with fleet.client(credential) as client:
        line = await client.begin()
        await line.say(measurement=session_pb2.Measurement(manifest_digest=OTHER, p95_ms=1.0))
        await line.say(measurement=session_pb2.Measurement(manifest_digest=MANIFEST, p95_ms=2.5, samples=9))
        doc = await fleet.until("measurement", f"{MANIFEST}@n1", p95_ms=2.5)
    assert doc.body["node_id"] == "n1"
    assert len(await fleet.ledger.all("measurement")) == 1


async def test_a_federated_reply_counts_once_and_only_from_the_node_that_was_asked(fleet: Fleet) -> None:
    asked, other = await fleet.enrol("n1"), await fleet.enrol("n2")
    task = FederatedTask(run_id="run", message_id="m1", message_digest=MANIFEST, message_bytes=5, round=1)
    await fleet.want("n1", Desired(federated=task))

    def reply(digest: str) -> session_pb2.FederatedReply:
        return session_pb2.FederatedReply(run_id="run", message_id="m1", reply_digest=digest)

    async with fleet.client(asked) as client, fleet.client(other) as thief:
        theirs = await thief.begin()
        await theirs.say(federated_reply=reply(OTHER))
        await theirs.say(reported=session_pb2.ReportedState(generation=1))
        await fleet.until("reported", "n2")
        assert await fleet.ledger.all("federated_reply") == []
        line = await client.begin()
        await line.say(federated_reply=reply(MANIFEST))
        await line.say(federated_reply=reply(OTHER))
        await line.say(reported=session_pb2.ReportedState(generation=1))
        await fleet.until("reported", "n1")
    [doc] = await fleet.ledger.all("federated_reply")
    assert (doc.id, doc.body["node_id"], doc.body["reply_digest"]) == ("m1", "n1", MANIFEST)


async def test_telemetry_is_counted_once_over_repeats_and_restarts(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")

    def report(boot: str, sequence: int) -> session_pb2.TelemetryReport:
        counts = [0] * (len(LATENCY_BOUNDS_MS) + 1)
        counts[20] = 10
        return session_pb2.TelemetryReport(
            boot_id=boot,
            sequence=sequence,
            model_name="digits",
            manifest_digest=MANIFEST,
            requests=10,
            failed_requests=1,
            latency_counts=counts,
            class_counts=[4, 6],
            rss_bytes=sequence,
        )

    async with fleet.client(credential) as client:
        line = await client.begin()
        for word in (report(BOOT, 1), report(BOOT, 1), report(BOOT, 2)):
            await line.say(telemetry=word)
            assert (await line.hear("telemetry_ack")).sequence == word.sequence
    async with fleet.client(credential) as client:
        line = await client.begin(boot_id="f" * 32)
        for word in (report(BOOT, 2), report("f" * 32, 1)):
            await line.say(telemetry=word)
            await line.hear("telemetry_ack")
    doc = await fleet.ledger.get("telemetry", "n1:digits")
    assert doc is not None
    assert doc.body["totals"]["requests"] == 30
    assert doc.body["totals"]["failed_requests"] == 3
    assert doc.body["totals"]["class_counts"] == [12, 18]
    assert sum(doc.body["totals"]["latency_counts"]) == 30


async def test_reports_are_written_together_and_acknowledged_then(ledger: Ledger, tmp_path: Path) -> None:
    async with open_fleet(ledger, tmp_path, flush_s=3600.0) as fleet:
        async with fleet.client(await fleet.enrol("n1")) as client:
            line = await client.begin()
            for sequence in range(1, 20):
                word = session_pb2.TelemetryReport(boot_id=BOOT, sequence=sequence, model_name="digits", requests=1)
                await line.say(telemetry=word)
            assert [(await line.hear("telemetry_ack")).sequence for _ in range(2)] == [1, 18]
        async with asyncio.timeout(PATIENCE_S), fleet.ledger.watch("telemetry") as news:
            while (doc := await fleet.ledger.get("telemetry", "n1:digits")) is None or doc.body["totals"]["requests"] < 19:
                await anext(news)  # what waited when the session ended is written too


# -- who does not keep to it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ({"hello": hello_word()}, "second hello"),
        ({}, "empty message"),
        ({"telemetry": session_pb2.TelemetryReport(boot_id="x", sequence=1, model_name="m")}, "telemetry.boot_id"),
        ({"telemetry": session_pb2.TelemetryReport(boot_id=BOOT, sequence=1, model_name="../m")}, "telemetry.model_name"),
        (
            {"telemetry": session_pb2.TelemetryReport(boot_id=BOOT, sequence=1, model_name="m", latency_counts=[1])},
            "latency_counts",
        ),
        (
            {"telemetry": session_pb2.TelemetryReport(boot_id=BOOT, sequence=2**63, model_name="m", requests=1)},
            "telemetry.sequence",
        ),
        (
            {
                "reported": session_pb2.ReportedState(
                    generation=1, models={"m": session_pb2.ReportedModel(desired_generation=2**64 - 1)}
                )
            },
            "reported.models.desired_generation",
        ),
        ({"measurement": session_pb2.Measurement(manifest_digest="sha256:no")}, "measurement.manifest_digest"),
        ({"measurement": session_pb2.Measurement(manifest_digest=MANIFEST, p95_ms=float("nan"))}, "measurement.p95_ms"),
        ({"federated_reply": session_pb2.FederatedReply(message_id="m")}, "federated_reply"),
        ({"reported": session_pb2.ReportedState(generation=1, models={"": session_pb2.ReportedModel()})}, "reported.models"),
        ({"reported": session_pb2.ReportedState(generation=1, problem="x" * MAX_MESSAGE_BYTES)}, "the limit is 65536"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_word_that_breaks_the_protocol_ends_its_session_and_no_other(fleet: Fleet, word: Any, named: str) -> None:
    bad, good = await fleet.enrol("bad"), await fleet.enrol("good")
    async with fleet.client(good) as peaceful, fleet.client(bad) as hostile:
        bystander, line = await peaceful.begin(), await hostile.begin()
        await line.say(**word)
        refusal = await refusal_of(line)
        assert refusal.reason == REASON.REFUSAL_REASON_PROTOCOL_VIOLATION
        assert named in refusal.detail
        await bystander.say(heartbeat=session_pb2.Heartbeat(sequence=1))
        await bystander.hear("heartbeat")


async def test_a_node_that_uses_the_boot_of_another_counts_for_itself_alone(fleet: Fleet) -> None:
    honest, thief = await fleet.enrol("n1"), await fleet.enrol("n2")
    async with fleet.client(honest) as one, fleet.client(thief) as two:
        first, second = await one.begin(), await two.begin()
        for line, requests in ((first, 5), (second, 100)):
            word = session_pb2.TelemetryReport(boot_id=BOOT, sequence=1, model_name="digits", requests=requests)
            await line.say(telemetry=word)
            await line.hear("telemetry_ack")
    totals = {doc.id: doc.body["totals"]["requests"] for doc in await fleet.ledger.all("telemetry")}
    assert totals == {"n1:digits": 5, "n2:digits": 100}


async def test_a_message_over_the_transports_limit_ends_its_session_and_no_other(fleet: Fleet) -> None:
    bad, good = await fleet.enrol("bad"), await fleet.enrol("good")
    async with fleet.client(good) as peaceful, fleet.client(bad, unbounded=True) as hostile:
        bystander, line = await peaceful.begin(), await hostile.begin()
        await line.say(reported=session_pb2.ReportedState(generation=1, problem="x" * 1_000_000))
        assert await line.ended() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await fleet.until("presence", "bad", connected=False)
        await bystander.say(heartbeat=session_pb2.Heartbeat(sequence=1))
        await bystander.hear("heartbeat")
        await (await hostile.begin()).say(reported=session_pb2.ReportedState(generation=1))
        await fleet.until("reported", "bad", generation=1)


async def test_bytes_that_are_no_message_end_their_session_and_no_other(fleet: Fleet) -> None:
    bad, good = await fleet.enrol("bad"), await fleet.enrol("good")
    async with fleet.client(good) as peaceful, fleet.client(bad) as hostile:
        bystander = await peaceful.begin()
        raw = hostile.channel.stream_stream("/littoral.fleet.v1.SessionService/Connect")()
        await raw.write(b"\xff" * 100)
        with pytest.raises(grpc.aio.AioRpcError):
            await raw.read()
        await bystander.say(heartbeat=session_pb2.Heartbeat(sequence=1))
        await bystander.hear("heartbeat")


async def test_a_coordinator_that_drains_says_so_and_lets_nobody_in(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    async with fleet.client(credential) as client:
        line = await client.begin()
        draining = asyncio.create_task(fleet.hub.drain(5.0))
        refusal = await refusal_of(line)
        await draining
        assert refusal.reason == REASON.REFUSAL_REASON_UNAVAILABLE
        assert refusal.retry_after_s > 0
        late = client.open()
        assert (await refusal_of(late)).reason == REASON.REFUSAL_REASON_UNAVAILABLE
    await fleet.until("presence", "n1", connected=False)


async def test_a_fleet_is_told_to_come_back_one_after_another(fleet: Fleet) -> None:
    spreads, lines = [], []
    async with AsyncExitStack() as open:
        for number in range(3):
            client = await open.enter_async_context(fleet.client(await fleet.enrol(f"n{number}")))
            lines.append(client.open())
            await lines[-1].say(hello=hello_word())
            spreads.append((await lines[-1].hear("welcome")).reconnect_spread_s)
        assert spreads == [1 / WELCOMES_A_SECOND, 2 / WELCOMES_A_SECOND, 3 / WELCOMES_A_SECOND]
        draining = asyncio.create_task(fleet.hub.drain(5.0))
        after = sorted([(await refusal_of(line)).retry_after_s for line in lines])
        await draining
    assert after == [DRAIN_RETRY_S + number / WELCOMES_A_SECOND for number in range(3)]


async def test_a_herd_is_greeted_so_far_as_it_has_patience_and_the_others_get_turns(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "LINE_LEAST", 2)
    monkeypatch.setattr(turns, "LINE_S", 0.002)
    async with AsyncExitStack() as open:
        clients = [await open.enter_async_context(fleet.client(await fleet.enrol(f"n{number}"))) for number in range(4)]
        silent = [client.open() for client in clients[:2]]  # they have connected and say nothing yet
        async with asyncio.timeout(PATIENCE_S):
            while fleet.hub.line.busy() is None:  # noqa: ASYNC110 - they say nothing by which it could be known
                await asyncio.sleep(0.001)
        for client in clients[2:]:
            refusal = await refusal_of(client.open())
            assert refusal.reason == REASON.REFUSAL_REASON_UNAVAILABLE
            assert "2 nodes wait for this coordinator's Welcome" in refusal.detail
            assert refusal.retry_after_s > 0
        times = [busy.retry_after_s for _ in range(200) if (busy := fleet.hub.line.busy())]
        assert times[-1] > times[0]
        for line in silent:
            await line.say(hello=hello_word())
            await line.hear("welcome")
        await clients[2].begin()


# -- one identity, two machines ----------------------------------------------------------------------------------------


async def test_a_folder_that_was_copied_is_seen_shown_and_audited_and_each_machine_has_its_turn(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    one, two = "1" * 32, "2" * 32
    async with fleet.client(credential) as first, fleet.client(credential) as second:
        at_first = await first.begin(boot_id=one)
        at_second = await second.begin(boot_id=two)
        refusal = await refusal_of(at_first)  # as after a restart: nothing is said of it
        assert (refusal.reason, refusal.retry_after_s) == (REASON.REFUSAL_REASON_SUPERSEDED, 0)
        [view] = await view_nodes(fleet.ledger, fleet.clock())
        assert view.state == "online"

        waits = []
        for turn in range(4):
            came_again, client, left = (one, first, at_second) if turn % 2 == 0 else (two, second, at_first)
            line = await client.begin(boot_id=came_again)
            refusal = await refusal_of(left)
            assert refusal.reason == REASON.REFUSAL_REASON_SUPERSEDED
            assert "runs twice, from 127.0.0.1:" in refusal.detail
            waits.append(refusal.retry_after_s)
            at_first, at_second = (line, at_second) if turn % 2 == 0 else (at_first, line)
        assert waits == [30, 60, 120, 240]
        [view] = await view_nodes(fleet.ledger, fleet.clock())
        assert (view.state, len(view.twins)) == ("cloned", 2)
        [line] = [line for line in await fleet.ledger.audit() if line.action == "node.twice"]
        assert line.subject == "n1"
        [view] = await view_nodes(fleet.ledger, fleet.clock() + 3601)
        assert view.state == "online"
