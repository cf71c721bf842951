"""Flower ClientApp: trains the model that a message brings on this node's labelled examples. Only weights leave the node.

Standard form: the agent's warm worker (worker.py) calls it, and so does `flwr run`. torch is imported at the top, or a Ray
worker cannot turn arrays into tensors.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from littoral.architectures import build, sizes_of
from littoral.errors import BadData, BadInput
from littoral_node.federation.labelled import Images, Labels, read_labelled, split
from littoral_node.federation.simulated import mnist_partition
from littoral_node.federation.task import TrainingTask, task_from
from littoral_node.federation.training import LocalSchedule, judge, seed_of, train

app = ClientApp()


@app.train()
def train_round(message: Message, context: Context) -> Message:
    """One round: arrays in, arrays and {num-examples, train_loss, seconds, accuracy_before} out."""
    started = time.perf_counter()
    task, net = _open(message)
    (x, y), (held_x, held_y) = _examples(task, context)
    _, accuracy_before = judge(net, task.prepare(held_x), held_y)
    seed = seed_of(task.seed, task.round, context.node_id)
    schedule = LocalSchedule(task.local_epochs, task.learning_rate, task.batch_size, seed, task.calibration, task.freeze_head)
    loss = train(net, task.prepare(x), y, schedule)
    return _reply(
        message,
        {
            "num-examples": len(y),
            "train_loss": loss,
            "accuracy_before": accuracy_before,
            "seconds": time.perf_counter() - started,
        },
        ArrayRecord({name: value.contiguous() for name, value in net.state_dict().items()}),
    )


@app.evaluate()
def evaluate_round(message: Message, context: Context) -> Message:
    """Judges the global model on the node's held-out examples."""
    started = time.perf_counter()
    task, net = _open(message)
    _, (held_x, held_y) = _examples(task, context)
    loss, accuracy = judge(net, task.prepare(held_x), held_y)
    seconds = time.perf_counter() - started
    return _reply(message, {"num-examples": len(held_y), "loss": loss, "accuracy": accuracy, "seconds": seconds})


def _open(message: Message) -> tuple[TrainingTask, torch.nn.Module]:
    torch.set_num_threads(1)
    config, arrays = message.content["config"], message.content["arrays"]
    if not isinstance(config, ConfigRecord) or not isinstance(arrays, ArrayRecord):
        raise BadInput("federated message: must hold an ArrayRecord `arrays` and a ConfigRecord `config`")
    task = task_from(config)
    net = build(task.architecture, **sizes_of(task.architecture, task.input.shape), classes=task.classes)
    net.load_state_dict(arrays.to_torch_state_dict(), strict=True)
    return task, net


def _examples(task: TrainingTask, context: Context) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
    folder = context.node_config.get("labelled")
    if folder is not None:
        x, y = read_labelled(Path(str(folder)), task.input.shape)
    elif "partition-id" in context.node_config:
        index, of = int(context.node_config["partition-id"]), int(context.node_config["num-partitions"])
        x, y = mnist_partition(Path(task.data), index, of)
    else:
        raise BadInput("federated task: this node has no labelled data", hint="set `labelled` in node.toml")
    if len(y) and int(y.max()) >= task.classes:
        raise BadData(f"labelled data: class {int(y.max())} in {folder or task.data}, the model knows {task.classes} classes")
    (train_part, held) = split(x, y)
    if len(train_part[1]) == 0 or len(held[1]) == 0:
        raise BadData(f"labelled data: {len(y)} examples are too few to train on and hold some out", hint="at least 5 are needed")
    return train_part, held


def _reply(message: Message, metrics: Mapping[str, int | float], arrays: ArrayRecord | None = None) -> Message:
    content = RecordDict({"metrics": MetricRecord({**metrics})})
    if arrays is not None:
        content["arrays"] = arrays
    return Message(content, reply_to=message)
