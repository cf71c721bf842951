"""The apps keep Flower's standard form, and pyproject declares them so that `flwr run` finds them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.cli.config_utils import load_and_validate
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.supercore.object_ref import load_app
from torch import nn

from littoral.errors import BadInput
from littoral.flower_private import become_server
from littoral_cloud.federation.server_app import initial_arrays, train_config
from littoral_cloud.federation.strategies import Sampling, build_strategy
from littoral_cloud.federation.strategies.resumable import RoundFailed, StrategyFailed
from littoral_cloud.federation.worker import run_config_of
from littoral_node.federation.task import task_from
from littoral_node.federation.training import LocalSchedule, head_of, judge, log_prior, train
from tests.kit.federation import send, small_run

ROOT = Path(__file__).parents[3]
RUN = small_run("r", "sha256:" + "0" * 64)


def app_config() -> dict[str, Any]:
    app: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    return app


def test_flower_finds_both_apps_where_pyproject_says() -> None:
    load_and_validate(ROOT / "pyproject.toml")
    components = app_config()["components"]
    assert isinstance(load_app(components["serverapp"], ImportError, str(ROOT)), ServerApp)
    assert isinstance(load_app(components["clientapp"], ImportError, str(ROOT)), ClientApp)


@pytest.mark.parametrize("config", [app_config()["config"], run_config_of(RUN)], ids=["flwr run", "coordinator"])
def test_both_ways_to_start_give_the_nodes_what_they_read(config: dict[str, Any]) -> None:
    record = train_config(config)
    record["server-round"] = 1
    task = task_from(record)
    assert task.local_epochs == config["local-epochs"]
    arrays = initial_arrays(Context(1, 1, {}, RecordDict(), config))
    assert list(arrays) == list(initial_arrays(Context(1, 1, {}, RecordDict(), config)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("architecture", "{"), ("input", "[]"), ("input", '{"shape": [1]}'), ("learning-rate", 0.0), ("classes", 0), ("seed", "x"),
     ("calibration", 2.0), ("local-epochs", True), ("model", None)],
)  # fmt: skip
def test_a_message_whose_config_is_wrong_is_refused_by_the_field(field: str, value: object) -> None:
    config: dict[str, Any] = {**train_config(run_config_of(RUN)), "server-round": 1}
    if value is None:
        del config[field]
    else:
        config[field] = value
    with pytest.raises(BadInput, match=field):
        task_from(config)


def reply(weight: float, counter: int, examples: int) -> Message:
    content = RecordDict(
        {
            "arrays": ArrayRecord({"w": Array(np.full((2,), weight, np.float32)), "n": Array(np.array(counter))}),
            "metrics": MetricRecord({"num-examples": examples, "train_loss": weight}),
        }
    )
    become_server("r")
    return Message(content, 1, "train")


def test_a_round_is_the_mean_weighted_by_examples_and_keeps_types_and_shapes_and_its_true_number() -> None:
    told: list[tuple[int, ArrayRecord, MetricRecord]] = []
    strategy = build_strategy("fedavg", Sampling(), seed=1, first_round=3, on_round=lambda *round_: told.append(round_))
    send(strategy, reply(0.0, 5, 1).content["arrays"])
    strategy.aggregate_train(1, [reply(1.0, 5, 10), reply(4.0, 5, 20)])
    (number, arrays, metrics) = told[0]
    assert number == 3
    np.testing.assert_allclose(arrays["w"].numpy(), [3.0, 3.0])
    assert (arrays["w"].numpy().dtype, arrays["n"].numpy().dtype, arrays["n"].numpy().shape) == (np.float32, np.int64, ())
    assert metrics["train_loss"] == pytest.approx(3.0)


def test_replies_that_are_not_finite_fail_the_round() -> None:
    strategy = build_strategy("fedavg", Sampling(), seed=1, first_round=1, on_round=lambda *_: None)
    send(strategy, reply(0.0, 5, 1).content["arrays"])
    with pytest.raises(RoundFailed, match=r"0 of 1 replies can be used, 2 are needed .*not-finite: w holds values"):
        strategy.aggregate_train(1, [reply(float("nan"), 5, 10)])


def test_an_exception_of_a_strategy_ends_the_run_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no weights at all")

    monkeypatch.setattr("flwr.serverapp.strategy.FedAvg.aggregate_train", broken)
    strategy = build_strategy("fedavg", Sampling(), seed=1, first_round=3, on_round=lambda *_: None)
    send(strategy, reply(0.0, 5, 1).content["arrays"])
    with pytest.raises(StrategyFailed, match="round 3: ResumableFedAvg: ZeroDivisionError: no weights at all"):
        strategy.aggregate_train(1, [reply(1.0, 5, 10), reply(4.0, 5, 20)])


def test_an_unknown_strategy_is_named_with_those_that_are_known() -> None:
    with pytest.raises(BadInput, match=r"'best'.*fedavg"):
        build_strategy("best", Sampling(), seed=1, first_round=1, on_round=lambda *_: None)


def test_training_is_repeatable_and_calibration_spares_the_classes_that_a_node_lacks() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 1, 4, 4)).astype(np.float32), np.repeat([0, 1], 20)

    def trained(calibration: float, freeze: bool) -> nn.Module:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
        train(net, x, y, LocalSchedule(5, 1e-2, 8, 1, calibration, freeze))
        return net

    one, same = trained(1.0, False).state_dict(), trained(1.0, False).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)

    def absent(net: nn.Module) -> float:
        return float(torch.softmax(net(torch.from_numpy(x)), 1)[:, 2].mean().detach())

    assert absent(trained(1.0, False)) > absent(trained(0.0, False))
    frozen = trained(1.0, True)
    torch.manual_seed(0)
    fresh = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    assert torch.equal(head_of(frozen).weight, head_of(fresh).weight)  # type: ignore[arg-type]
    assert judge(frozen, x, y)[1] > judge(fresh, x, y)[1]
    assert log_prior(torch.tensor([0, 0, 1]), 3).exp().tolist() == pytest.approx([3 / 6, 2 / 6, 1 / 6])
