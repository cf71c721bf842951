"""A training that is killed goes on from its checkpoint, and ends with the weights that it would have had."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from littoral.architectures import build
from littoral.errors import BadInput
from littoral_cloud.training.augmentation import Augment
from littoral_cloud.training.checkpoint import Checkpoint, Checkpoints
from littoral_cloud.training.constraint import Constraint
from littoral_cloud.training.preparation import input_of, tensor_of
from littoral_cloud.training.schedule import Progress, Schedule, Step
from littoral_cloud.training.train import OneCopy, distil, train_teacher
from littoral_cloud.training.trainer import Trainer, TrainingDiverged
from littoral_cloud.training.weights import arrays_of, module_of, weights_digest
from tests.kit.images import bars

SPEC = {"name": "compact_cnn", "widths": [4, 8]}
MOVED = Schedule(batch=16, learning_rate=1e-2, augment=Augment(shift=1.0, copies=3))
QUICK = Schedule(batch=16, learning_rate=1e-2)


def stop_at(step: int) -> Progress:
    def progress(told: Step) -> None:
        if told.step == step:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("schedule", [MOVED, replace(MOVED, optimiser="sgd")], ids=["adamw", "sgd"])
@pytest.mark.parametrize("stopped_at", [1, 7, 12, 13, 20, 36])
def test_a_training_that_is_stopped_ends_with_the_same_weights(tmp_path: Path, schedule: Schedule, stopped_at: int) -> None:
    data = bars()
    whole = train_teacher(data, SPEC, epochs=3, seed=1, schedule=schedule)
    kept = Checkpoints(tmp_path, every=1)
    with pytest.raises(KeyboardInterrupt):
        train_teacher(data, SPEC, epochs=3, seed=1, schedule=schedule, checkpoints=kept, progress=stop_at(stopped_at))
    told: list[int] = []
    again = train_teacher(
        data, SPEC, epochs=3, seed=1, schedule=schedule, checkpoints=kept, progress=lambda step: told.append(step.step)
    )
    assert again.digest == whole.digest
    assert told == list(range(stopped_at + 1, 37))


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_training_changes_nothing(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from littoral_cloud.training.checkpoint import Checkpoints\n"
        "from littoral_cloud.training.schedule import Schedule\n"
        "from littoral_cloud.training.train import train_teacher\n"
        "from tests.kit.images import bars\n"
        "die = lambda step: os.kill(os.getpid(), signal.SIGKILL) if step.step == int(sys.argv[2]) else None\n"
        "made = train_teacher(bars(), {'name': 'compact_cnn', 'widths': [4, 8]}, epochs=2, seed=1,\n"
        "    schedule=Schedule(batch=16, learning_rate=1e-2),\n"
        "    checkpoints=Checkpoints(Path(sys.argv[1]), every=5), progress=die)\n"
        "print(made.digest)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path), "17"], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    resumed = subprocess.run([sys.executable, "-c", program, str(tmp_path), "0"], capture_output=True, text=True, check=True)
    assert resumed.stdout.strip() == train_teacher(bars(), SPEC, epochs=2, seed=1, schedule=QUICK).digest


def test_dropout_goes_on_with_the_same_draws(tmp_path: Path) -> None:
    data = bars()

    def network() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            body = build({"name": "perceptron"}, channels=1, height=12, width=12, classes=3)
        return nn.Sequential(nn.Dropout(0.3), body)

    def teach(module: nn.Module, trainer: Trainer) -> str:
        trainer.teach(module, name="net", epochs=2, schedule=QUICK, seed=4)
        return weights_digest(module)

    whole = teach(network(), Trainer(data))
    kept = Checkpoints(tmp_path, every=4)
    with pytest.raises(KeyboardInterrupt):
        teach(network(), Trainer(data, checkpoints=kept, progress=stop_at(10)))
    assert teach(network(), Trainer(data, checkpoints=kept)) == whole


def test_a_training_that_goes_on_does_not_move_the_generator_from_which_another_draws_its_weights(tmp_path: Path) -> None:
    """Students are trained in threads, and torch's generator is one for all of them."""
    data, kept = bars(), Checkpoints(tmp_path, every=5)
    with pytest.raises(KeyboardInterrupt):
        train_teacher(data, SPEC, epochs=1, seed=1, schedule=QUICK, checkpoints=kept, progress=stop_at(7))
    network = build(SPEC, channels=1, height=12, width=12, classes=3)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        drawn = [torch.rand(1).item()]

        def draw(_: Step) -> None:
            drawn.append(torch.rand(1).item())

        train_teacher(data, SPEC, epochs=1, seed=1, schedule=QUICK, checkpoints=kept, progress=draw)
        module_of(SPEC, arrays_of(network), channels=1, height=12, width=12, classes=3)
        torch.manual_seed(7)
        assert drawn == [torch.rand(1).item() for _ in drawn]


def test_what_is_restored_lies_where_torch_would_have_put_it(tmp_path: Path) -> None:
    """Kernels may add up in an order that depends on where a tensor begins."""
    kept = Checkpoints(tmp_path)
    kept.save("t", "k", Checkpoint(1, {f"t{n}": torch.arange(n, dtype=torch.float32) for n in range(1, 40)}, {}))
    found = kept.load("t", "k")
    assert found is not None
    data = bars()
    batch = data.train_x[1:8].copy()
    fresh = torch.empty(1).data_ptr() % 64
    assert {tensor.data_ptr() % 64 for tensor in (*found.tensors.values(), tensor_of(input_of(data), batch))} == {fresh}


def test_another_training_of_the_same_name_begins_anew(tmp_path: Path) -> None:
    data, kept = bars(), Checkpoints(tmp_path, every=5)
    train_teacher(data, SPEC, epochs=1, seed=1, schedule=QUICK, checkpoints=kept)
    told: list[int] = []
    train_teacher(data, SPEC, epochs=1, seed=2, schedule=QUICK, checkpoints=kept, progress=lambda step: told.append(step.step))
    assert told[0] == 1


def test_a_damaged_checkpoint_is_named_and_not_thrown_away(tmp_path: Path) -> None:
    data, kept = bars(), Checkpoints(tmp_path, every=5)
    train_teacher(data, SPEC, epochs=1, seed=1, schedule=QUICK, checkpoints=kept)
    place = tmp_path / "teacher.safetensors"
    place.write_bytes(place.read_bytes()[:100])
    with pytest.raises(BadInput, match=r"teacher\.safetensors cannot be read") as refused:
        train_teacher(data, SPEC, epochs=1, seed=1, schedule=QUICK, checkpoints=kept)
    assert "delete it" in refused.value.hint
    assert place.stat().st_size == 100


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        train_teacher(bars(), SPEC, epochs=1, seed=1, schedule=QUICK, checkpoints=Checkpoints(tmp_path / "file" / "kept"))


def test_a_loss_that_is_not_a_number_names_the_layer_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    data, kept = bars(), Checkpoints(tmp_path, every=1)

    class Spoilt(Constraint):
        key = "spoilt at step 5"

        def after_step(self, module: nn.Module, step: int, steps: int) -> None:
            if step == 5:
                with torch.no_grad():
                    module.get_parameter("features.conv2.weight")[0, 0, 0, 0] = torch.inf

    module = build(SPEC, channels=1, height=12, width=12, classes=3)
    trainer = Trainer(data, checkpoints=kept)
    with pytest.raises(
        TrainingDiverged, match=r"net: the loss is nan at step 6 of 12, because the weights of layer features\.conv2"
    ) as stopped:
        trainer.teach(module, name="net", epochs=1, schedule=QUICK, seed=1, constraint=Spoilt())
    assert stopped.value.hint.endswith("; the last good checkpoint, of step 4, stays")
    with safe_open(tmp_path / "net.safetensors", framework="pt") as file:
        assert file.metadata()["step"] == "4"
        assert all(torch.isfinite(file.get_tensor(k)).all() for k in file.keys())  # noqa: SIM118


def test_moved_copies_need_answers_of_their_own() -> None:
    data = bars()
    with pytest.raises(BadInput, match="not of copy 1"):
        distil(data, np.zeros((len(data.train_y), 3), np.float32), SPEC, epochs=2, seed=1, schedule=MOVED)
    assert OneCopy(np.zeros((1, 3), np.float32)).of(0).shape == (1, 3)
