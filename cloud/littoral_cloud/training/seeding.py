"""torch's threads and its generator: one of each for the whole process, lent to one training at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from littoral.errors import BadInput

MOST_SEED = 2**63 - 1
_DRAWING = threading.RLock()


def checked_seed(what: str, seed: int) -> int:
    """The seed. Raises BadInput, naming what it is of, where numpy or torch would not take it."""
    if not 0 <= seed <= MOST_SEED:
        raise BadInput(f"{what}: {seed}", hint=f"0 to {MOST_SEED}")
    return seed


@contextmanager
def computing(threads: int) -> Iterator[None]:
    """torch's threads for as long as it lasts: never its default, which is the host's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside the block torch draws from this seed. Other threads wait: torch has one generator for the whole process, and
    several networks may be trained at once."""
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def draws(module: nn.Module) -> bool:
    """Whether a network draws from torch's generator while it is trained."""
    return any(isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0 for layer in module.modules())


@contextmanager
def drawing(module: nn.Module, seed: int) -> Iterator[None]:
    """A network that draws while it is trained has torch's generator for itself, and so waits for others that do."""
    if draws(module):
        with seeded(seed):
            yield
    else:
        yield
