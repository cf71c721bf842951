"""Figures of a chart, as the script of the page reads them from an attribute. A table beside it has the same figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


def points(x_title: str, y_title: str, groups: Mapping[str, Sequence[tuple[float, float]]], *, log: bool) -> str:
    """Each group's points, by its name. `log`: of x."""
    at = sorted({x for group in groups.values() for x, _ in group})
    series = []
    for name, group in groups.items():
        best: dict[float, float] = {}
        for x, y in group:
            best[x] = max(y, best.get(x, y))
        series.append({"name": name, "values": [best.get(x) for x in at]})
    return json.dumps({"kind": "points", "x": x_title, "y": y_title, "log": log, "at": at, "series": series})


def lines(x_title: str, y_title: str, at: Sequence[float], series: Mapping[str, Sequence[float | None]]) -> str:
    """Lines over the same places."""
    given = [{"name": name, "values": list(values)} for name, values in series.items()]
    return json.dumps({"kind": "lines", "x": x_title, "y": y_title, "log": False, "at": list(at), "series": given})
