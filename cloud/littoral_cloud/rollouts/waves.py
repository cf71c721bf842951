"""How many nodes a wave has, and what a rollout tells of its waves. Pure.

Rules, in order:

1. A number is the size of one wave. A percent says which part of the planned nodes has the release after the wave, rounded up; so
   its wave is what is still missing.
2. A percent wave that would not be larger than the wave before it counts as done.
3. A wave of more than `most_nodes` is divided into several waves.
4. A wave of which less than half had its turn, because the maintenance windows of the others were closed, has proved little: the
   next one is as large as what was missing.
5. All nodes that are left go in one more wave, or in several by rule 3.

Example: 1, 5 %, 25 % of 1,000 nodes are waves of 1, 49, 200 and 750; of 20, waves of 1, 4 and 15; of four, one and then three. Of
10,000 they are 1, 499, two of 1,000, then seven of 1,000 and one of 500.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from littoral.errors import BadInput
from littoral_cloud.rollouts.state import FIRST_NODES, KEPT_WAVES, RolloutPolicy, Wave, WaveSize

HINT = "1,5%,25% is a canary, then 5 and then 25 percent of the nodes, then the rest"
LARGE_SHARE = Fraction(1, 5)
"""A first wave of more than this part of the nodes, and of more than FEW_NODES, is large."""
FEW_NODES = 3
LARGEST_WAVE = 1_000_000


def parse_waves(text: str) -> tuple[WaveSize, ...]:
    """From a command line, like 1,5%,25%. Raises BadInput, with the part that is wrong."""
    parts = [part.strip() for part in text.split(",")]
    return checked_sizes([int(part) if part.isdecimal() and part.isascii() else part for part in parts], "--waves")


def checked_sizes(sizes: Sequence[WaveSize], at: str) -> tuple[WaveSize, ...]:
    """Args:
    at: where they stand, for messages.

    Raises BadInput, with the part that is wrong.
    """
    if not sizes:
        raise BadInput(f"{at}: names no wave", hint=HINT)
    for size in sizes:
        if isinstance(size, int) and not 1 <= size <= LARGEST_WAVE:
            raise BadInput(f"{at}: {size} is no number of nodes from 1 to {LARGEST_WAVE:,}", hint=HINT)
        if isinstance(size, str) and not _is_percent(size):
            raise BadInput(f"{at}: {size!r} is neither a number of nodes nor a percent above 0 and up to 100", hint=HINT)
    return tuple(sizes)


def _is_percent(text: str) -> bool:
    digits = text.removesuffix("%")
    plain = digits.isascii() and digits.replace(".", "", 1).isdecimal() and len(digits) <= len("99.999999")
    return plain and text.endswith("%") and 0 < Fraction(digits) <= 100


def sizes_of(policy: RolloutPolicy, planned: int) -> tuple[int, ...]:
    """Of the first waves, for this number of planned nodes; all that are left go in waves of at most `most_nodes`."""
    found: list[int] = []
    done = before = 0
    for size in policy.wave_sizes:
        wanted = size if isinstance(size, int) else _reached(size, planned) - done
        if isinstance(size, str) and wanted <= before:
            continue
        before = min(wanted, planned - done)
        found += _bounded(before, policy.most_nodes)
        done += before
    return tuple(found)


def sizes_after(sizes: Sequence[int], done: int) -> tuple[int, ...]:
    """Of the waves that are still to come after `done` nodes: a wave counts once half of its nodes have had their turn."""
    reached = 0
    for number, size in enumerate(sizes):
        if 2 * (done - reached) < size:
            return (min(size, reached + size - done), *sizes[number + 1 :])
        reached += size
    return ()


def _reached(percent: str, planned: int) -> int:
    """How many nodes this percent is, rounded up."""
    return -int(-planned * Fraction(percent.removesuffix("%")) // 100)


def _bounded(nodes: int, most: int) -> list[int]:
    whole, rest = divmod(nodes, most)
    return [most] * whole + [rest] * bool(rest)


def first_wave(policy: RolloutPolicy, planned: int) -> int:
    """How many nodes it has."""
    return next(iter(sizes_of(policy, planned)), 0)


def may_be_large(policy: RolloutPolicy) -> bool:
    """Whether there is a number of nodes for which the first wave is large."""
    first = policy.wave_sizes[0]
    never = LARGE_SHARE * FEW_NODES / (FEW_NODES + 1) * 100  # percent: rounded up, up to there it is a fifth or a few nodes
    return first > FEW_NODES if isinstance(first, int) else Fraction(first.removesuffix("%")) > never


def is_large(first: int, planned: int) -> bool:
    """Whether a first wave of `first` nodes is a risk that somebody has to confirm."""
    return first > FEW_NODES and first > LARGE_SHARE * planned


def split(nodes: int, sizes: Sequence[int], most: int) -> tuple[int, ...]:
    """Sizes of the waves of this number of nodes: these sizes, and more of all that are left."""
    found: list[int] = []
    for size in sizes:
        if nodes:
            found.append(min(size, nodes))
            nodes -= found[-1]
    return (*found, *_bounded(nodes, most))


def next_started(waves: Sequence[Wave], size: int, now: float) -> tuple[Wave, ...]:
    """With one more wave."""
    number = waves[-1].number + 1 if waves else 1
    return (*waves, Wave(number=number, size=size, started_at=now))[-KEPT_WAVES:]


def told(waves: Sequence[Wave], nodes: Sequence[str], now: float, *, last: bool) -> tuple[Wave, ...]:
    """After these nodes of the running wave were asked. A wave that ends without a node has not been."""
    *before, wave = waves
    first = (*wave.first, *nodes)[:FIRST_NODES]
    wave = replace(wave, told=wave.told + len(nodes), first=first, told_at=now if last else None)
    return (*before, wave) if wave.told or not last else tuple(before)


def ended(waves: Sequence[Wave], now: float) -> tuple[Wave, ...]:
    """After the running one, if there is one."""
    if not waves or waves[-1].ended_at is not None:
        return tuple(waves)
    *before, wave = waves
    told_at = now if wave.told_at is None else wave.told_at
    return (*before, replace(wave, told_at=told_at, ended_at=now)) if wave.told else tuple(before)
