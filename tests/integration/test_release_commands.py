"""littoral-cloud artifact, release and rollout, as an operator types them, over an embedded Redis."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from littoral.process.command import script
from littoral_cloud.app import open_core
from littoral_cloud.cli import execute
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.records import dump
from littoral_cloud.local.how_to_ask import node_here
from littoral_cloud.local.snippets import Where
from littoral_cloud.releases.catalogue import publish
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import Assignment, assignment_id
from littoral_cloud.rollouts.commands import read_rollout
from littoral_cloud.rollouts.state import KIND, RolloutState, Wave
from littoral_cloud.settings import load_settings
from littoral_cloud.trust.store import open_trust
from tests.kit.unrunnable import unrunnable


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of one published artifact, in a data folder that the commands will open."""
    monkeypatch.setenv("LITTORAL_DATA_DIR", str(tmp_path / "cloud"))

    async def put() -> str:
        async with open_core(load_settings()) as core:
            made = await publish(core, unrunnable("digits", class_accuracy=(0.96, 0.84)), core.clock())
            return made.manifest_digest

    return asyncio.run(put())


def test_from_an_artifact_to_a_rollout_and_its_abort(digest: str, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> Any:
        assert execute([*words, "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert [row["manifest_digest"] for row in said("artifact", "list")] == [digest]
    shown = said("artifact", "show", digest.removeprefix("sha256:")[:10])
    assert (shown["name"], shown["class_accuracy"], shown["worst_label"]) == ("cnn", {"b": 0.96, "a": 0.84}, "a")
    assert said("release", "create", "--artifact", digest)["id"] == "digits-1"
    assert [row["release_id"] for row in said("release", "list")] == ["digits-1"]
    assert [row["digest"] for row in said("release", "show", "digits-1")["artifacts"]] == [digest]
    assert said("rollout", "start", "digits-1") == {"rollout": "digits-1-r1", "state": "PENDING"}
    shown = said("rollout", "show", "digits-1-r1")
    assert (shown["state"], shown["waits_for"]) == ("PENDING", ["a running coordinator"])
    assert execute(["rollout", "abort", "digits-1-r1"]) == 0
    assert said_table(capsys) == "digits-1-r1 is asked to stop\n"
    assert [row["aborted_by"] != "" for row in said("rollout", "list")] == [True]
    for wanted in (digest.removeprefix("sha256:")[:12], "cnn"):
        assert [row["digest"] for row in said("release", "create", "--artifact", wanted)["artifacts"]] == [digest]
    assert execute(["release", "create", "--artifact", "0" * 12]) == 4
    assert "artifact: '000000000000' is no artifact" in capsys.readouterr().err
    for option, value in (("--probation-s", "1e99"), ("--probation-s", "nan"), ("--max-drop-vs-served", "nan")):
        assert execute(["rollout", "start", "digits-1", option, value]) == 2
        error = capsys.readouterr().err
        bad = "must be a finite number" if value == "nan" else f"{float(value):g} must lie between 0 and"
        assert f"{option}: {bad}" in error
        assert value == "nan" or f"hint: like {option} " in error
    assert execute(["rollout", "start", "digits-1", "--waves", "9" * 20]) == 2
    assert "--waves: " in capsys.readouterr().err
    assert execute(["run", "start", "--no-such-option", "--format", "json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "bad-input"


def test_a_release_is_withdrawn_and_there_is_a_way_back(digest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["release", "create", "--artifact", digest]) == 0
    assert execute(["rollout", "back", "digits"]) == 4
    assert "no release has passed a rollout yet" in capsys.readouterr().err
    assert execute(["rollout", "back", "digits", "--to", "digits-1", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rollout"] == "digits-1-r1"
    assert execute(["release", "withdraw", "digits-1", "--why", "blind to sevens", "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["withdrawn"], said["rollouts_stopped"], said["served_by"]) == ("blind to sevens", ["digits-1-r1"], [])
    assert execute(["rollout", "start", "digits-1"]) == 2
    assert "was withdrawn: blind to sevens" in capsys.readouterr().err


def test_an_artifact_is_written_as_one_file_and_over_no_other(
    digest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "cnn.tar"
    assert execute(["artifact", "export", "cnn", "--to", str(place), "--format", "json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert (written["digest"], written["bytes"]) == (digest, place.stat().st_size)
    with tarfile.open(place) as archive:
        assert archive.getnames() == ["manifest.dsse.json", "signing-keys.json", "files/model.onnx"]
    assert execute(["artifact", "export", "cnn", "--to", str(place)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert execute(["artifact", "export", "cnn", "--to", str(tmp_path / "no" / "cnn.tar")]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cloud", "cnn.tar"]


def test_the_worst_class_stands_beside_the_mean(digest: str, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> str:
        assert execute(words) == 0
        return capsys.readouterr().out

    assert said("artifact", "list").splitlines()[0].split()[3:6] == ["ACCURACY", "WORST", "CLASS"]
    for table in (said("artifact", "list"), said("release", "create", "--artifact", digest), said("release", "show", "digits-1")):
        assert "  0.9       0.84 (a)  " in table
    assert "accuracy 0.9 on 10 examples, worst class 0.84 (a)" in said("artifact", "show", "cnn")
    [row] = json.loads(said("release", "show", "digits-1", "--format", "json"))["artifacts"]
    assert (row["accuracy"], row["worst_class"], row["worst_label"]) == (0.9, 0.84, "a")
    assert list(row["class_accuracy"].items()) == [("b", 0.96), ("a", 0.84)]
    [row] = json.loads(said("artifact", "list", "--format", "json"))
    assert (row["worst_class"], row["class_accuracy"]) == (0.84, {"b": 0.96, "a": 0.84})


def test_who_watches_is_told_that_no_coordinator_runs_and_then_how_to_ask(digest: str, tmp_path: Path) -> None:
    assert execute(["release", "create", "--artifact", digest]) == 0
    node = tmp_path / "cloud" / "node"
    node.mkdir()
    (node / "node.json").write_text(json.dumps({"node_id": "n1"}))
    (node / "serving.json").write_text(json.dumps({"http": "127.0.0.1:9000", "grpc": "127.0.0.1:9001"}))
    command = [script("littoral-cloud"), "rollout", "start", "digits-1", "--watch"]

    async def succeed() -> None:
        async with open_core(load_settings()) as core:
            doc, rollout = await read_rollout(core.ledger, "digits-1-r1")
            gets = Assignment(rollout_id=doc.id, node_id="n1", manifest_digest=digest, name="cnn", previous="", wave=1)
            wave = Wave(number=1, size=1, told=1, first=("n1",), started_at=1.0, told_at=1.0, ended_at=2.0)
            ended = replace(rollout, state=RolloutState.SUCCEEDED, planned=1, waves=(wave,))
            given = Write(ASSIGNMENT, assignment_id(doc.id, "n1"), dump(gets), 0)
            await core.ledger.commit(Change((Write(KIND, doc.id, dump(ended), doc.generation), given)))

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stderr is not None
            assert f"no coordinator runs on {tmp_path / 'cloud'}" in watching.stderr.readline()
            asyncio.run(succeed())
            out, _ = watching.communicate(timeout=60)
        finally:
            watching.kill()
    assert watching.returncode == 0
    assert "n1 serves cnn. Ask it:" in out
    assert "curl -s http://127.0.0.1:9000/v2/models/digits/infer" in out
    assert '"127.0.0.1:9001"' in out
    assert str(node) in out


def said_table(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_another_nodes_address_is_not_made_up(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "node.json").write_text(json.dumps({"node_id": "n1"}))
    (tmp_path / "node" / "serving.json").write_text(json.dumps({"http": "127.0.0.1:9000"}))
    assert node_here(tmp_path, "n2") is None
    assert node_here(tmp_path, "n1") == Where("127.0.0.1:9000", "", str(tmp_path / "node"))


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (("release", "create"), 2, "give one of --run, --weights and --artifact"),
        (("release", "create", "--weights", "x.safetensors"), 2, "--weights needs --data and --model"),
        (("release", "create", "--run", "nothing"), 4, "run 'nothing': there is none"),
        (("release", "show", "nothing"), 4, "release 'nothing': there is none"),
        (("artifact", "show", "nothing"), 4, "artifact: 'nothing' is no artifact"),
        (("rollout", "start", "nothing"), 4, "release 'nothing': there is none"),
        (("rollout", "start", "x", "--waves", "1,two"), 2, "--waves: 'two' is neither a number of nodes nor a percent"),
        (("rollout", "show", "nothing"), 4, "rollout 'nothing': there is none"),
        (("rollout", "back", "nothing"), 4, "model 'nothing': has no release"),
        (("release", "withdraw", "nothing", "--why", "x"), 4, "release 'nothing': there is none"),
        (("release", "withdraw", "nothing", "--why", " "), 2, "--why: is empty"),
        (("rollout", "abort", "nothing"), 4, "rollout 'nothing': there is none"),
    ],
)
def test_what_cannot_be_is_said_on_standard_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    complaint: str,
) -> None:
    monkeypatch.setenv("LITTORAL_DATA_DIR", str(tmp_path / "cloud"))
    open_trust(tmp_path / "cloud", 0.0)
    assert execute(words) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert complaint in told.err
