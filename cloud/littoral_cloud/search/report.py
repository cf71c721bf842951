"""The report of a search: a picture of the front, and one HTML page that needs no other file.

The page has the picture as SVG inside it, no script, and nothing from elsewhere. Names and values come from a user's recipe,
so all of them are escaped.
"""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from littoral.budget import excesses
from littoral.errors import unwritten
from littoral_cloud.search.compress import SearchResult
from littoral_cloud.search.state import TrialRun
from littoral_cloud.search.trial import production_of

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 66rem; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
tr.best { background: #e8f4ea } td.values { text-align: left; font-size: 13px }
svg { width: 100%; height: auto } pre { background: #f5f5f5; padding: 1rem; overflow-x: auto; font-size: 13px }
"""
COLUMNS = ("trial", "accuracy", "worst_class", "transfer_bytes", "artifact_bytes", "macs", "p95_ms", "runtime", "fits")


def rows_of(found: SearchResult, runs: Sequence[TrialRun]) -> list[dict[str, Any]]:
    """A row for each run that is done, as JSON values. `fits` is None without a budget."""
    rows = []
    for run in runs:
        if run.outcome is None:
            continue
        o = run.outcome
        fits = None if found.budget is None else not excesses(o.measured(""), found.budget)
        measured = (o.accuracy, o.worst_class, o.transfer_bytes, o.artifact_bytes, o.macs, round(o.p95_ms, 4), o.runtime)
        rows.append(dict(zip(COLUMNS, (run.number, *measured, fits), strict=True)) | {"values": dict(run.params)})
    return rows


def write_report(found: SearchResult, folder: Path) -> dict[str, Path]:
    """Writes front.png, report.html and front.json. Raises BadInput or NoSpace where that fails."""
    places = {"picture": folder / "front.png", "page": folder / "report.html", "data": folder / "front.json"}
    contents = (picture(found, "png"), page(found).encode(), data_of(found).encode())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place, content in zip(places.values(), contents, strict=True):
            part = place.with_name(f"{place.name}.part")
            part.write_bytes(content)
            part.replace(place)
    except OSError as error:
        raise unwritten(f"report: {folder}", error, hint="name another --report folder") from error
    return places


def data_of(found: SearchResult) -> str:
    """The report as JSON: each trial of the front with the recipe that makes it again."""
    best = found.best
    body = {
        "search": found.name,
        "recipe": found.recipe.what,
        "budget": str(found.budget) if found.budget else "",
        "ended": found.reason,
        "best": best.number if best else None,
        "baseline": asdict(found.baseline),
        "front": [
            row | {"recipe": production_of(found.recipe, run).resolved()}
            for row, run in zip(rows_of(found, found.front), found.front, strict=True)
        ],
        "trials": rows_of(found, found.trials),
    }
    return json.dumps(body, indent=2) + "\n"


def picture(found: SearchResult, format: str) -> bytes:
    """Accuracy against each other objective, for all finished trials, with the front marked."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axes_of = {
        "bytes": ("transfer_bytes", "bytes that travel"),
        "macs": ("macs", "multiply-accumulates"),
        "latency": ("p95_ms", "p95, ms"),
    }
    shown = [axes_of[o] for o in found.recipe.settings.objectives if o != "accuracy"]
    with rc_context({"svg.hashsalt": "littoral", "svg.fonttype": "path"}):
        figure = Figure(figsize=(4.2 * len(shown), 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        for axis, (name, label) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            for runs, style in ((found.trials, {"color": "#b8b8b8", "s": 18}), (found.front, {"color": "#1f6fb4", "s": 30})):
                points = [(getattr(r.outcome, name), 100 * r.outcome.accuracy) for r in runs if r.outcome]
                axis.scatter([x for x, _ in points], [y for _, y in points], **style)
            for run in found.front:
                if run.outcome:
                    at = (getattr(run.outcome, name), 100 * run.outcome.accuracy)
                    axis.annotate(str(run.number), at, xytext=(3, 3), textcoords="offset points", fontsize=7)
            axis.set(xlabel=label, ylabel="accuracy on held-out examples, %")
            if max(values := [getattr(run.outcome, name) for run in found.trials], default=1) > 20 * min(values, default=1):
                axis.set_xscale("log")
            else:
                axis.locator_params(axis="x", nbins=5)
            axis.grid(alpha=0.3)
        out = io.BytesIO()
        figure.savefig(
            out,
            format=format,
            dpi=150,
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")) if format == "svg" else None,
        )
    return out.getvalue()


def page(found: SearchResult) -> str:
    """The report as one HTML file."""
    best = found.best
    limits = f"Budget: <code>{html.escape(str(found.budget))}</code>. " if found.budget else ""
    chosen = (
        f"Trial {best.number} is the most accurate{' inside it' if found.budget else ''}." if best else "No trial is inside it."
    )
    svg = re.sub(r"^.*?(?=<svg)", "", picture(found, "svg").decode(), flags=re.DOTALL) if found.trials else ""
    recipe = html.escape(json.dumps(production_of(found.recipe, best).resolved(), indent=2)) if best else ""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><title>Search</title>',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>Search {html.escape(found.name)}: {html.escape(found.recipe.what)}</h1>",
            f"<p>{len(found.trials)} finished trials, {len(found.front)} of them in the front. {limits}{chosen} "
            "Accuracies are on held-out training examples, times on the worker's machine. On the same examples logistic "
            f"regression has {found.baseline.logistic:.1%}, the most frequent class {found.baseline.majority:.1%}.</p>",
            svg,
            "<h2>The front</h2>",
            _table(found, found.front, best),
            *(["<h2>The recipe of the best</h2>", f"<pre>{recipe}</pre>"] if best else []),
            "<h2>All finished trials</h2>",
            _table(found, found.trials, best),
            "</body></html>",
            "",
        ]
    )


def _table(found: SearchResult, runs: Sequence[TrialRun], best: TrialRun | None) -> str:
    head = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in (*COLUMNS, "values"))
    lines = []
    for row in rows_of(found, runs):
        cells = "".join(f"<td>{html.escape(_shown(row[name]))}</td>" for name in COLUMNS)
        values = ", ".join(f"{path} = {json.dumps(value)}" for path, value in row["values"].items())
        chosen = ' class="best"' if best and row["trial"] == best.number else ""
        lines.append(f'<tr{chosen}>{cells}<td class="values">{html.escape(values)}</td></tr>')
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
