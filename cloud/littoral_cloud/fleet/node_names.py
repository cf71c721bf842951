"""Names of nodes in order, so that a page of a long list costs what it shows."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Any

from littoral_cloud.fleet.records import Node
from littoral_cloud.fleet.view import FleetView, Held


class NodeNames:
    """Args:
    view: follows nodes, and does not run yet.
    """

    def __init__(self, view: FleetView) -> None:
        self._names: dict[str, str] = {}
        self._ordered: list[tuple[str, str]] = []
        view.follow(("node",), self._note)

    def after(self, name: str) -> Iterator[str]:
        """Ids of the nodes behind a name, by name; "": from the first. To be read to its end before anything is waited for."""
        start = bisect_right(self._ordered, (name, "\U0010ffff")) if name else 0
        for index in range(start, len(self._ordered)):
            yield self._ordered[index][1]

    def _note(self, kind: str, id: str, held: Held[Any] | None) -> None:
        node: Node | None = held.record if held is not None else None
        before, name = self._names.get(id), node.name if node is not None else None
        if before == name:
            return
        if before is not None:
            del self._ordered[bisect_left(self._ordered, (before, id))]
            del self._names[id]
        if name is not None:
            insort(self._ordered, (name, id))
            self._names[id] = name
