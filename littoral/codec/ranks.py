"""Codes a table of ranks, most of them 0: which are not 0, their signs, how far they are from 0.

A rank is a place in a codebook, counted from its most frequent value: ..., -2, -1, 0, 1, 2, ... The table has lanes (for example
the units of a layer) and steps (for example the pixels that a unit sees). Weights that survive pruning lie together, and
neighbours have the same sign: on LeNet-300-100 this takes a third off what independent positions and values would cost.

The rules, in order, for each step. Each question goes to a predictor of its own (mixing.py), for all lanes of a group at once:

1. In each group of lanes: which ranks are not 0? Predicted from the ranks before it (one to three steps back, and where steps are
   the pixels of an image or a kernel, those above and the plane before), from how often the lane was not 0, and from how full the
   steps around and the groups of this step are.
2. Of those that are not 0: which are positive? Predicted from the signs of the neighbours and of the lane. Not asked where the
   codebook has values on one side alone.
3. Their distance - 1 in binary, the highest bit first, each bit with its own predictor, which knows the bits before it.
4. The step becomes part of what the next ones are predicted from.

A decoder asks the same questions in the same order, and what it learns is what the encoder learnt. Eight lanes of which two are
never 0: the first step costs 12 bits, the eleventh to twentieth together 7.

    >>> from dataclasses import replace
    >>> from littoral.codec.coder import Meter
    >>> step = [0, 0, 2, 0, 0, -1, 0, 0]
    >>> grid = Grid(steps=1, lanes=8, pitch=0, plane=0, groups=1, below=1, above=2, density=0, pace=7)
    >>> def bits(steps: int) -> int:
    ...     meter = Meter()
    ...     code_ranks(meter, replace(grid, steps=steps), np.array([step] * steps))
    ...     return round(meter.bits)
    >>> bits(1), bits(2), bits(10), bits(20)
    (12, 22, 51, 58)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from littoral.codec.coder import Coder
from littoral.codec.mixing import STEP, BitPredictor, beginning
from littoral.codec.tables import UNIT, Ints, log

_MOST_NODES = 16
"""At most this many values of the bits of a distance so far are different contexts."""
SPREAD = 8 * UNIT
"""Log odds of a density are different contexts between -SPREAD and SPREAD."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The form of a table of ranks, and how the predictors begin.

    Args:
        steps, lanes: the size of the table.
        pitch: steps from a pixel to the one below it. 0: the steps are no pixels.
        plane: steps of one image or kernel, after which the next one begins. 0: there is one.
        groups: the lanes are coded in this many groups, so that the later ones know how full the step is.
        below, above: the largest distance of a rank on each side of 0.
        density: log odds that a rank is 0, times 8, the first guess.
        pace: of learning; see mixing.py.
    """

    steps: int
    lanes: int
    pitch: int
    plane: int
    groups: int
    below: int
    above: int
    density: int
    pace: int

    @property
    def rounds(self) -> int:
        """The least number of vectors to code: the work grows with it and with the elements."""
        return self.steps * self.groups


class _History:
    """The ranks so far, after a margin of empty steps: a neighbour outside the image is a 0."""

    def __init__(self, grid: Grid) -> None:
        pitch, plane = grid.pitch or 2, grid.plane or 3
        self._back = (1, pitch, pitch + 1, pitch - 1 or 3, 2, 2 * pitch, plane)
        self.margin = max(self._back)
        self.ranks = np.zeros((self.margin + grid.steps, grid.lanes), np.int16)
        self.filled = np.zeros(self.margin + grid.steps, np.int64)
        self.lane = np.zeros(grid.lanes, np.int64)  # ranks that were not 0, so far
        self.signs = np.zeros(grid.lanes, np.int64)
        self.sizes = np.zeros(grid.lanes, np.int64)

    def around(self, step: int) -> list[Ints]:
        """Ranks of all lanes at: one before, above, above left, above right, two before, two above, the plane before."""
        here = self.margin + step
        return [self.ranks[here - back].astype(np.int64) for back in self._back]

    def fullness(self, step: int) -> tuple[int, int]:
        """(ranks that are not 0, ranks) of the steps around, the nearer ones twice."""
        here = self.margin + step
        full = total = 0
        for back, weight in zip(self._back, (2, 2, 1, 1, 1, 1, 2), strict=True):
            if back <= step:
                full += weight * int(self.filled[here - back])
                total += weight
        return full, total * len(self.lane)


class _RankModel:
    """The predictors of all questions, and the history that they learn from."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.history = _History(grid)
        first = -grid.density * UNIT // 8
        self._prior = beginning(first)
        self._full = BitPredictor([12, 128, 16 * 12, 16 * 12, 16 * 16, 16, 64 * 4], 2, first, grid.pace)
        self._sign = BitPredictor([21, 81, 25, 13, 1], 0, 0, grid.pace)
        depth = (max(grid.below, grid.above, 1) - 1).bit_length()
        self._coarse = max(0, depth - 4)  # the ranks of a large codebook share contexts
        self._bits = [
            BitPredictor([cells * min(1 << bit, _MOST_NODES) for cells in (8, 16, 21, 16, 2)], 0, 0, grid.pace)
            for bit in range(depth)
        ]

    def run(self, coder: Coder, ranks: Ints | None) -> npt.NDArray[np.int16]:
        grid, history = self.grid, self.history
        parts = [np.arange(part, grid.lanes, grid.groups) for part in range(grid.groups)]
        for step in range(grid.steps):
            around = history.around(step)
            row = history.ranks[history.margin + step]
            given = None if ranks is None else ranks[step]
            there: list[Ints] = []
            done = 0
            for part in parts:
                bits = self._code_full(coder, step, part, [n[part] for n in around], there, done, given)
                there.append(part[bits == 1])
                done += len(part)
            places = np.sort(np.concatenate(there))
            if len(places):
                row[places] = self._code_values(coder, places, [n[places] for n in around], given)
            history.filled[history.margin + step] = len(places)
        table: npt.NDArray[np.int16] = history.ranks[history.margin :]
        return table

    def _code_full(
        self, coder: Coder, step: int, part: Ints, around: list[Ints], there: list[Ints], done: int, given: Ints | None
    ) -> Ints:
        one, zero = self._prior
        history = self.history
        lane = log(8 * one + STEP * history.lane[part]) - log(8 * zero + STEP * (step - history.lane[part]))
        full, total = history.fullness(step)
        # This step itself counts as much as all the steps around it.
        near, own = max(1, total // 32), sum(map(len, there))
        ones = 8 * one + STEP * (full // near) + STEP * own
        zeros = 8 * zero + STEP * ((total - full) // near) + STEP * (done - own)
        here = np.full(len(part), int(log(np.array([ones]))[0] - log(np.array([zeros]))[0]))
        flags = [(n != 0).astype(np.int64) for n in around]
        left, above, above_left, above_right, left2, above2, before = flags
        near_by = 2 * left + 2 * above + above_left + above_right + left2 + above2 + before
        pattern = left + 2 * above + 4 * above_left + 8 * above_right + 16 * left2 + 32 * above2 + 64 * before
        sizes = np.minimum(np.abs(around[0]) + np.abs(around[1]), 15)
        lane_level, here_level = _level(lane), _level(here)
        crowd = np.minimum(near_by, 11)
        place = np.full(len(part), min(step % self.grid.plane, 63) * 4 if self.grid.plane else 0) + np.minimum(near_by, 3)
        contexts = [crowd, pattern, lane_level * 12 + crowd, here_level * 12 + crowd, lane_level * 16 + here_level, sizes, place]
        return self._full.code(coder, contexts, [lane, here], None if given is None else (given[part] != 0).astype(np.int64))

    def _code_values(self, coder: Coder, places: Ints, around: list[Ints], given: Ints | None) -> Ints:
        grid, history = self.grid, self.history
        values = None if given is None else given[places]
        if grid.below and grid.above:
            bits = self._code_sign(coder, places, around, None if values is None else (values > 0).astype(np.int64))
        else:
            bits = np.full(len(places), int(grid.above > 0))
        sign = 2 * bits - 1
        distance = self._code_distance(coder, places, around, sign, None if values is None else np.abs(values))
        history.lane[places] += 1
        history.signs[places] += sign
        history.sizes[places] += distance
        return sign * distance

    def _code_sign(self, coder: Coder, places: Ints, around: list[Ints], bits: Ints | None) -> Ints:
        left, above, above_left, above_right, left2, above2, before = (np.sign(n) for n in around)
        votes = 2 * left + 2 * above + above_left + above_right + left2 + above2 + before + 10
        pattern = left + 3 * above + 9 * above_left + 27 * above_right + 40
        weight = np.clip(around[0] + around[1] + around[2] + around[3], -12, 12) + 12
        lane = np.clip(self.history.signs[places], -6, 6) + 6
        return self._sign.code(coder, [votes, pattern, weight, lane, np.zeros_like(lane)], [], bits)

    def _code_distance(self, coder: Coder, places: Ints, around: list[Ints], sign: Ints, given: Ints | None) -> Ints:
        """Distances from 1: the bits of distance - 1, the highest first."""
        grid, history, coarse = self.grid, self.history, self._coarse
        crowd = np.sum([n != 0 for n in around], axis=0)
        sizes = np.minimum(np.abs(around[:4]).sum(axis=0) >> coarse, 15)
        agreed = np.minimum(np.maximum(sign * np.sum(around[:4], axis=0) >> coarse, -10), 10) + 10
        usual = np.minimum((2 * history.sizes[places] >> coarse) // np.maximum(history.lane[places], 1), 15)
        contexts = [crowd, sizes, agreed, usual, (sign > 0).astype(np.int64)]
        distance = np.zeros(len(places), np.int64)
        for depth, decision in enumerate(self._bits):
            nodes = min(1 << depth, _MOST_NODES)
            node = distance * nodes >> depth
            bits = None if given is None else (given - 1) >> (len(self._bits) - 1 - depth) & 1
            distance = 2 * distance + decision.code(coder, [c * nodes + node for c in contexts], [], bits)
        # Hostile bytes may lead beyond the codebook.
        nearest: Ints = np.minimum(distance + 1, np.where(sign > 0, grid.above, grid.below))
        return nearest


def code_ranks(coder: Coder, grid: Grid, ranks: Ints | None) -> npt.NDArray[np.int16]:
    """Codes a table of ranks, (steps, lanes), and returns it; `ranks` None: decodes it."""
    return _RankModel(grid).run(coder, ranks)


def _level(odds: Ints) -> Ints:
    """0 to 15."""
    level: Ints = np.minimum(np.maximum((odds + SPREAD) >> 10, 0), 15)
    return level
