from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.budget import Budget
from littoral.errors import BadInput
from littoral.quota import NodeLimits
from littoral_node.config.settings import KNOWN, NodeSettings, given_settings, load_settings, settings_from, written_down
from littoral_node.config.values import parse_size


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text('threads = 3\nmax-download-rate = "1MB/s"\nruntimes = ["ncnn", "onnxruntime"]\n')
    environment = {"LITTORAL_NODE_THREADS": "4", "LITTORAL_NODE_HTTP": "0.0.0.0:9000", "LITTORAL_REDIS_URL": "x", "HOME": "/"}
    settings = load_settings(tmp_path, {"threads": "5", "budget": None}, environment)
    assert (settings.threads, settings.max_download_rate, settings.runtimes) == (5, 1e6, ("ncnn", "onnxruntime"))
    assert (settings.http_host, settings.http_port) == ("0.0.0.0", 9000)
    assert load_settings(tmp_path, {}, {}).threads == 3
    assert load_settings(tmp_path / "nowhere", {}, {}) == NodeSettings()


def test_grpc_is_the_port_after_https_unless_told(tmp_path: Path) -> None:
    def grpc(**flags: str) -> tuple[str, int] | None:
        return load_settings(tmp_path, flags, {}).grpc

    assert grpc() == ("127.0.0.1", 8081)
    assert grpc(http="127.0.0.1:9000") == ("127.0.0.1", 9001)
    assert grpc(http="[::1]:0") == ("::1", 0)
    assert grpc(http="127.0.0.1:65535") == ("127.0.0.1", 0)
    assert grpc(http="127.0.0.1:9000", grpc="127.0.0.1:1234") == ("127.0.0.1", 1234)
    assert grpc(grpc="off") is None


def test_an_unknown_key_or_variable_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text("treads = 3\n")
    with pytest.raises(BadInput, match=r"'treads' is not a setting.*did you mean threads"):
        load_settings(tmp_path, {}, {})
    with pytest.raises(BadInput, match=r"did you mean LITTORAL_NODE_BUDGET"):
        load_settings(tmp_path / "nowhere", {}, {"LITTORAL_NODE_BUGDET": "x"})


def test_what_an_agent_wrote_down_is_read_again_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "node.toml").write_text("threads = 3\n")
    (tmp_path / "labels").mkdir()
    told = given_settings(tmp_path, {"labelled": "labels", "budget": None}, {"LITTORAL_NODE_HTTP": "0.0.0.0:9000"})
    kept = json.loads(json.dumps(written_down(told)))
    monkeypatch.chdir("/")
    found = settings_from(tmp_path, kept)
    assert (found.threads, found.http_port, found.labelled) == (3, 9000, tmp_path / "labels")
    with pytest.raises(BadInput, match="'of_tomorrow' is not a setting"):
        settings_from(tmp_path, {"flag": {"of_tomorrow": "1"}})


def test_the_commands_own_variables_are_no_settings(tmp_path: Path) -> None:
    own = {"LITTORAL_NODE_DATA": "/x", "LITTORAL_NODE_JOIN": "y", "LITTORAL_NODE_NAME": "z"}
    assert load_settings(tmp_path, {}, own) == NodeSettings()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("budget", "artefact<=1KB"),
        ("http", "8080"),
        ("http", "h:99999"),
        ("max_download_rate", "0KB/s"),
        ("max_download_rate", "fast"),
        ("keep_free", "1XB"),
        ("threads", "0"),
        ("threads", "two"),
        ("labelled", " "),
        ("labelled", "/nonexistent"),
        ("machine_root", "/nonexistent"),
        ("measure_lock", "/nonexistent/lock"),
        ("runtimes", "onnxruntime,foo"),
        ("on_battery_low", "artifact"),
        ("on_hot", "p95<=1KB"),
        ("battery_low", "0%"),
        ("battery_low", "91"),
        ("hot_at", "hot"),
        ("hot_at", "5C"),
        ("metered", "perhaps"),
        ("allow_load", "yes"),
        ("offload_keep_inputs", "on"),
        ("batch", "0"),
    ],
)
def test_a_wrong_value_is_named_with_its_origin(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(BadInput, match=f"--{name.replace('_', '-')}") as refused:
        load_settings(tmp_path, {name: text}, {})
    assert refused.value.hint
    with pytest.raises(BadInput, match=f"LITTORAL_NODE_{name.upper()}"):
        load_settings(tmp_path, {}, {f"LITTORAL_NODE_{name.upper()}": text})


@pytest.mark.parametrize("text", ["threads = ", "threads = true", "[budget]\nartifact = 1", "\xff"])
def test_a_file_that_is_not_what_it_must_be_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "node.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=r"node\.toml") as refused:
        load_settings(tmp_path, {}, {})
    assert refused.value.hint


def test_budgets_while_a_condition_holds_are_read_like_the_plain_one(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text(
        'budget = "p95<=5ms"\non_battery_low = "p95<=1ms"\nbattery-low = 30\nhot_at = "75.5 C"\nmetered = "no"\n'
    )
    settings = load_settings(tmp_path, {"on_metered": "artifact<=20KB", "machine_root": str(tmp_path)}, {})
    assert settings.overlays() == {"battery_low": Budget.parse("p95<=1ms"), "metered": Budget.parse("artifact<=20KB")}
    assert (settings.battery_low, settings.hot_at, settings.metered) == (30.0, 75.5, False)
    assert settings.machine_root == tmp_path
    assert NodeSettings().overlays() == {}
    assert load_settings(tmp_path, {"metered": "auto"}, {}).metered is None


@pytest.mark.parametrize(
    "flags",
    [
        {"tls_cert": "cert.pem", "tls_key": "key.pem"},
        {"tls_cert": "cert.pem", "http": "0.0.0.0:0"},
        {"tls_key": "key.pem", "http": "0.0.0.0:0"},
    ],
)
def test_tls_that_nobody_would_speak_is_refused(tmp_path: Path, flags: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="without the other" if len(flags) == 2 and "http" in flags else "--tls-cert"):
        load_settings(tmp_path, flags, {})


def test_runtimes_narrow_the_budget() -> None:
    assert NodeSettings(runtimes=("ncnn",)).node_budgets()[""].runtimes == ("ncnn",)
    assert NodeSettings(budget=Budget.parse("runtime=onnxruntime"), runtimes=("ncnn",)).node_budgets()[""].runtimes == (
        "onnxruntime",
    )


def test_budgets_of_single_models_are_a_table_or_a_text(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text(
        'memory = "40MB"\nrequests = 10\nruntimes = ["ncnn"]\n[budgets]\ndigits = "quota=50%,p95<=2ms"\nfaces = "rss<=8MB"\n'
    )
    settings = load_settings(tmp_path, {}, {})
    assert settings.limits == NodeLimits(memory_bytes=40_000_000, requests=10)
    assert settings.budgets == {"digits": Budget.parse("quota=0.5,p95<=2ms"), "faces": Budget.parse("rss<=8MB")}
    flags = {"budgets": "digits: quota=50%, p95<=2ms; faces: rss<=8MB"}
    assert load_settings(tmp_path, flags, {}).budgets == settings.budgets
    told = settings.node_budgets()
    assert sorted(told) == ["", "digits", "faces"]
    assert all(budget.runtimes == ("ncnn",) for budget in told.values())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"budgets": "digits: quota=60%; faces: quota=50%"}, "add up to 110% of 100%: digits 60%, faces 50%"),
        ({"budgets": "digits: rss<=30MB; faces: rss<=20MB", "memory": "40MB"}, "50,000,000 bytes of 40,000,000 bytes"),
        ({"budgets": "digits; faces"}, "'digits' is not NAME: LIMITS"),
        ({"budgets": "digits: rss=1MB"}, "digits: budget: 'rss=1MB' is not a limit"),
        ({"budgets": "a: quota=10%; a: quota=20%"}, "a is named twice"),
        ({"budget": "quota=50%"}, "would be the quota of every model"),
        ({"memory": "0"}, "would hold no model"),
        ({"on_hot": "quota=50%"}, "condition hot: quota=0.5 names a quota"),
        ({"requests": "0"}, "is not a whole number from 1"),
        ({"requests": "1", "budgets": "a: p95<=1ms; b: p95<=1ms"}, "1 for 2 models"),
    ],
)
def test_quotas_that_cannot_be_held_are_refused_at_start(tmp_path: Path, flags: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput) as refused:
        load_settings(tmp_path, flags, {})
    assert words in str(refused.value)
    assert refused.value.hint


@given(st.integers(0, 10**12))
def test_whole_bytes_are_read_back(count: int) -> None:
    assert parse_size(str(count), "x") == count
    assert parse_size(f"{count} KB", "x") == count * 1000


@given(st.text(max_size=20))
def test_no_text_does_worse_than_bad_input(text: str) -> None:
    for name in KNOWN:
        try:
            load_settings(Path("/nowhere"), {name: text}, {})
        except BadInput as error:
            assert name.replace("_", "-") in error.message  # noqa: PT017 - either outcome is right
            assert error.hint  # noqa: PT017 - the way out
