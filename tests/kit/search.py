"""A search that is over in seconds: bars told apart by networks of some hundred parameters."""

from __future__ import annotations

import copy
from typing import Any

from littoral_cloud.search import SearchRecipe, search_from

_SCHEDULE = {"batch": 16, "learning_rate": 1e-2}
BODY: dict[str, Any] = {
    "model": "bars",
    "student": [
        {
            "name": "s",
            "architecture": {"name": "compact_cnn", "widths": [4, 8]},
            "epochs": 4,
            "schedule": _SCHEDULE,
            "variants": ["ncnn"],
        }
    ],
    "search": {
        "trials": 4,
        "batch": 2,
        "rungs": [0.25, 1.0],
        "held_out": 0.25,
        "space": {"width": {"low": 0.5, "high": 2.0}, "schedule": {"learning_rate": {"low": 1e-3, "high": 3e-2, "log": True}}},
    },
}


def body(**search: Any) -> dict[str, Any]:
    """The TOML's values, with other keys of [search]."""
    changed = copy.deepcopy(BODY)
    changed["search"] |= search
    return changed


def tiny(**search: Any) -> SearchRecipe:
    return search_from(body(**search), what="tiny.toml")
