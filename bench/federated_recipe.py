"""What three federated rounds do to a drifted fleet, on real MNIST and real worker processes, without a coordinator.

    python bench/federated_recipe.py [--judge validation|test] [--local-epochs 2] [--learning-rate 1e-3] ...

Four nodes share 6,000 held-back training images (Dirichlet 1.0 over labels); the inputs of two are turned by 45 degrees, and
those keep as many labelled images from before the drift as from after. Settings are chosen on validation images, which
nothing trains on; the test images only judge what was chosen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import Future, wait
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid

from littoral.flower_private import become_server, empty_run, from_bytes, name_message, number_of, to_bytes
from littoral_cloud.data.dataset import Dataset, Examples
from littoral_cloud.data.shards import dirichlet_shards, rotate
from littoral_cloud.data.sources import load_mnist
from littoral_cloud.federation.server_app import app
from littoral_cloud.training.train import accuracy_of, logits_of, train_teacher
from littoral_cloud.training.weights import arrays_of, load_weights, module_of, parameters_of, save_weights
from littoral_node.federation.warm import WarmWorker

NODES = ("gateway", "camera", "handheld", "meter")
DRIFTED = NODES[:2]
HELD_BACK, VALIDATION = 6_000, 5_000


class WorkersGrid(Grid):
    """Each node a warm worker process of ours; messages go straight to its pipes."""

    def __init__(self, workers: dict[int, WarmWorker], loop: asyncio.AbstractEventLoop) -> None:
        self.workers, self.loop = workers, loop
        self.calls: dict[str, Future[bytes]] = {}
        self.bytes_down = self.bytes_up = 0
        self.ends: list[float] = []
        self.arrays: ArrayRecord | None = None

    def set_run(self, run: object) -> None: ...

    @property
    def run(self) -> object:
        return empty_run("bench")

    def create_message(self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl=None) -> Message:  # type: ignore[no-untyped-def]
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return sorted(self.workers)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Gives each to its worker, which begins at once."""
        names = []
        for i, message in enumerate(messages):
            names.append(f"{len(self.ends)}-{i}")
            name_message(message, names[-1])
            data = to_bytes(message)
            self.bytes_down += len(data)
            call = self.workers[message.metadata.dst_node_id].train(data)
            self.calls[names[-1]] = asyncio.run_coroutine_threadsafe(call, self.loop)
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are there."""
        return [self._reply(name) for name in message_ids if self.calls[name].done()]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        names = list(self.push_messages(messages))
        wait([self.calls[name] for name in names], timeout)
        return self.pull_messages(names)

    def _reply(self, name: str) -> Message:
        data = self.calls.pop(name).result()
        self.bytes_up += len(data)
        return from_bytes(data)

    def round_finished(self, number: int, arrays: ArrayRecord, metrics: MetricRecord) -> None:
        self.ends.append(time.perf_counter())
        self.arrays = arrays
        print(f"  round {number}: {dict(metrics)}", flush=True)


def node_folders(root: Path, held: Examples, seed: int, both: bool, degrees: float) -> None:
    rng = np.random.default_rng(seed)
    for name, part in zip(NODES, dirichlet_shards(held.y, len(NODES), 1.0, rng), strict=True):
        x, y = held.x[part], held.y[part]
        (root / name).mkdir()
        if name in DRIFTED:
            half = len(y) // 2
            if both:  # the same scenes from before and after
                np.savez(root / name / "0-before.npz", x=x, y=y)
                np.savez(root / name / "1-after.npz", x=rotate(x, degrees), y=y)
            else:
                np.savez(root / name / "0-before.npz", x=x[:half], y=y[:half])
                np.savez(root / name / "1-after.npz", x=rotate(x[half:], degrees), y=y[half:])
        else:
            np.savez(root / name / "0-before.npz", x=x, y=y)


def rss_mb(pid: int) -> dict[str, float]:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(fields[name].split()[0]) / 1000 for name in ("VmHWM", "VmRSS")}


async def rounds(arguments: argparse.Namespace, data: Dataset, root: Path, base: dict, spec: dict, given) -> WorkersGrid:  # type: ignore[no-untyped-def]
    workers = {number_of(n): WarmWorker(root / n, root / f"{n}-state") for n in NODES}
    grid = WorkersGrid(workers, asyncio.get_running_loop())
    become_server("bench")
    config = {
        "model": "digits",
        "architecture": json.dumps(spec),
        "input": json.dumps({"shape": given.shape, "scale": given.scale, "mean": given.mean, "std": given.std}),
        "classes": data.classes,
        "rounds": arguments.rounds,
        "local-epochs": arguments.local_epochs,
        "learning-rate": arguments.learning_rate,
        "batch-size": arguments.batch_size,
        "seed": arguments.seed,
        "calibration": arguments.calibration,
        "freeze-head": not arguments.train_head,
        "strategy": "fedavg",
        "fraction-train": 1.0,
        "fraction-evaluate": 0.0,
        "min-nodes": len(NODES),
        "round-timeout": 300.0,
    }
    state = RecordDict({"arrays": ArrayRecord({k: torch.from_numpy(v) for k, v in base.items()})})
    started = time.perf_counter()
    await asyncio.to_thread(app, grid, Context(number_of("bench"), 1, {}, state, config))
    print("seconds per round", [round(b - a, 1) for a, b in zip([started, *grid.ends], grid.ends, strict=False)])
    print("rss MB", {n: rss_mb(pid) for n in NODES if (pid := workers[number_of(n)].pid) is not None})
    for worker in workers.values():
        worker.end()
    return grid


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--judge", choices=("validation", "test"), default="validation")
    parser.add_argument("--widths", default="16,32,48,48")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--local-epochs", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--calibration", type=float, default=1.0)
    parser.add_argument("--train-head", action="store_true")
    parser.add_argument("--degrees", type=float, default=45.0)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--both", action="store_true", help="drifted nodes keep every scene before and after, not half and half")
    parser.add_argument("--cache", type=Path, default=Path("build/federated"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    less, held = load_mnist().hold_back(HELD_BACK)
    data, validation = less.hold_back(VALIDATION)
    judged = validation if arguments.judge == "validation" else data.test
    spec = {"name": "compact_cnn", "widths": [int(w) for w in arguments.widths.split(",")]}
    arguments.cache.mkdir(parents=True, exist_ok=True)
    kept = arguments.cache / f"base-{arguments.widths}-{arguments.epochs}.safetensors"
    from littoral_cloud.training.preparation import input_of

    given = input_of(data)
    if not kept.exists():
        started = time.perf_counter()
        save_weights(kept, train_teacher(data, spec, epochs=arguments.epochs, seed=1).module, spec)
        print(f"base trained in {time.perf_counter() - started:.1f} s")
    base, _ = load_weights(kept)
    channels, height, width = data.shape
    size = {"channels": channels, "height": height, "width": width, "classes": data.classes}
    turned = rotate(judged.x, arguments.degrees)

    def both_accuracies(arrays: dict) -> tuple[float, float]:  # type: ignore[type-arg]
        net = module_of(spec, arrays, **size)
        return tuple(accuracy_of(logits_of(net, given, x), judged.y) for x in (judged.x, turned))  # type: ignore[return-value]

    net = module_of(spec, base, **size)
    before = both_accuracies(arrays_of(net))
    print(f"{parameters_of(net)} parameters, before: clean {before[0]:.4f} drifted {before[1]:.4f}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        node_folders(root, held, arguments.seed, arguments.both, arguments.degrees)
        grid = asyncio.run(rounds(arguments, data, root, base, spec, given))
    assert grid.arrays is not None
    after = both_accuracies({k: v.numpy() for k, v in grid.arrays.items()})
    print(f"after: clean {after[0]:.4f} ({after[0] - before[0]:+.4f}) drifted {after[1]:.4f} ({after[1] - before[1]:+.4f})")
    print(f"bytes down {grid.bytes_down}, up {grid.bytes_up}")


if __name__ == "__main__":
    main()
