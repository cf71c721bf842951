"""Where the boxes of a lineage stand: parents left of what was made of them, in columns. Pure.

The column of a box is the longest way to it from a box without parents; in a column, boxes stand by the mean place of their
parents, so that few lines cross (the layers of Sugiyama, Tagawa and Toda, 1981, with one pass).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDE, HIGH, GAP_X, GAP_Y = 200, 46, 64, 16


@dataclass(frozen=True, slots=True)
class GraphBox:
    id: str
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class GraphLine:
    """`path`: of an SVG."""

    parent: str
    child: str
    path: str


@dataclass(frozen=True, slots=True)
class Drawing:
    width: int
    height: int
    boxes: Mapping[str, GraphBox]
    lines: tuple[GraphLine, ...]


def drawn(ids: Sequence[str], edges: Sequence[tuple[str, str]]) -> Drawing:
    """Args:
    ids: of the boxes. edges: (parent, child); one with an end that is no box is left out; one that would close a circle has no
        say in the columns.
    """
    known = dict.fromkeys(ids)
    real = list(dict.fromkeys(edge for edge in edges if edge[0] in known and edge[1] in known and edge[0] != edge[1]))
    parents: dict[str, list[str]] = {id: [] for id in known}
    for parent, child in real:
        parents[child].append(parent)
    columns: dict[int, list[str]] = {}
    ranks = _ranks(known, parents)
    for id in known:
        columns.setdefault(ranks[id], []).append(id)
    rows: dict[str, float] = {}
    for column in sorted(columns):
        some = columns[column]
        placed = {id: _mean([rows[p] for p in parents[id] if p in rows], index) for index, id in enumerate(some)}
        some.sort(key=lambda id: placed[id])
        rows |= {id: float(index) for index, id in enumerate(some)}
    most = max(map(len, columns.values()), default=0)
    boxes = {}
    for column, some in columns.items():
        top = (most - len(some)) * (HIGH + GAP_Y) / 2
        for index, id in enumerate(some):
            boxes[id] = GraphBox(id, column * (WIDE + GAP_X) + 4, int(top + index * (HIGH + GAP_Y)) + 4)
    lines = tuple(GraphLine(p, c, _path(boxes[p], boxes[c])) for p, c in real)
    width = max(columns, default=0) * (WIDE + GAP_X) + WIDE + 8
    return Drawing(width, max(most * (HIGH + GAP_Y) - GAP_Y + 8, HIGH), boxes, lines)


def _ranks(known: Mapping[str, None], parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    ranks: dict[str, int] = {}
    for start in known:
        stack, open_ = [start], {start}
        while stack:
            id = stack[-1]
            waiting = [p for p in parents[id] if p not in ranks and p not in open_]
            if waiting:
                stack.append(waiting[0])
                open_.add(waiting[0])
                continue
            ranks.setdefault(id, 1 + max((ranks[p] for p in parents[id] if p in ranks), default=-1))
            stack.pop()
    return ranks


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else float(otherwise)


def _path(parent: GraphBox, child: GraphBox) -> str:
    x1, y1, x2, y2 = parent.x + WIDE, parent.y + HIGH // 2, child.x, child.y + HIGH // 2
    bend = max(24, (x2 - x1) // 2)
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
