"""Draws docs/loop.svg, the picture in the README, from the report of a real demo.

python docs/draw_loop.py out/demo/report.json docs/loop.svg
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 960, 520
BOX_W, BOX_H = 208, 92
SEA, SHORE, SAND, INK, RED = "#0b4f6c", "#e8f4f8", "#f6efe3", "#12303b", "#a4303f"


def box(x: int, y: int, title: str, lines: list[str], *, fill: str = SHORE, stroke: str = SEA) -> str:
    rows = "".join(
        f'<text x="{x + 14}" y="{y + 46 + 18 * i}" font-size="13" fill="{INK}">{escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    return (
        f'<rect x="{x}" y="{y}" width="{BOX_W}" height="{BOX_H}" rx="10" fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'
        f'<text x="{x + 14}" y="{y + 25}" font-size="15" font-weight="600" fill="{stroke}">{escape(title)}</text>{rows}'
    )


def arrow(x1: int, y1: int, x2: int, y2: int, *, colour: str = SEA, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    head = "red" if colour == RED else "sea"
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="2"{dash} marker-end="url(#{head})"/>'


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


TOP, BOTTOM = 78, 300
COLUMNS = (24, 256, 488, 720)


def above(report: dict[str, Any]) -> list[str]:
    """From the teacher to the fleet."""
    teacher, students, nodes = report["teacher"], report["students"], report["nodes"]
    good = next(r for r in report["rollouts"] if r["kind"] == "initial")
    sizes = sorted(s["bytes"] for s in students)
    p50s = sorted(n["p50_ms"] for n in nodes)
    return [
        box(
            COLUMNS[0],
            TOP,
            "Teacher",
            [f"{percent(teacher['accuracy'])}, {teacher['parameters']:,} parameters", f"{teacher['seconds']:.0f} s"],
        ),
        box(
            COLUMNS[1],
            TOP,
            "Students",
            [
                f"{len(students)} artifacts, {len({s['architecture'] for s in students})} architectures",
                f"{sizes[0]:,} to {sizes[-1]:,} bytes",
            ],
        ),
        box(
            COLUMNS[2],
            TOP,
            "Rollout in waves",
            ["signed; " + " then ".join(str(len(w)) for w in good["waves"]) + " nodes", good["state"]],
        ),
        box(
            COLUMNS[3],
            TOP,
            "Fleet",
            [
                f"{len(nodes)} nodes, p50 {p50s[0]:.2f} to {p50s[-1]:.2f} ms",
                f"{sum(n['requests'] for n in nodes):,} requests, {sum(n['failed_requests'] for n in nodes)} failed",
            ],
            fill=SAND,
        ),
    ]


def below(report: dict[str, Any]) -> list[str]:
    """From drift back to students; and the release that was stopped."""
    drift, federation = report["drift"], report["federation"]
    seconds = sorted(federation["seconds_per_round"])
    bad = bad_of(report)
    stopped = ["A bad release", f"{bad['state']} at {', '.join(bad['waves'][0])}", "no other node served it"] if bad else []
    return [
        box(
            COLUMNS[3],
            BOTTOM,
            "Drift",
            [
                f"on {', '.join(drift['detected'])}",
                f"accuracy {percent(drift['accuracy_before'])} -> {percent(drift['accuracy_during'])}",
            ],
            fill=SAND,
        ),
        box(
            COLUMNS[2],
            BOTTOM,
            "Federated rounds",
            [
                f"{federation['rounds']} of {federation['strategy']}, {len(federation['participants'])} nodes",
                f"{seconds[len(seconds) // 2]:.1f} s a round, {federation['bytes_up'] / 1e6:.1f} MB up",
            ],
        ),
        box(
            COLUMNS[1],
            BOTTOM,
            "Better students",
            [
                f"drifted inputs: {percent(drift['served_drifted_after'])}",
                f"clean inputs: {percent(drift['served_clean_after'])}",
            ],
        ),
    ] + ([box(COLUMNS[0], BOTTOM, stopped[0], stopped[1:], stroke=RED)] if stopped else [])


def arrows_of(report: dict[str, Any]) -> list[str]:
    middle = BOX_H // 2
    found = [arrow(COLUMNS[i] + BOX_W, TOP + middle, COLUMNS[i + 1] - 4, TOP + middle) for i in range(3)]
    found.append(arrow(COLUMNS[3] + BOX_W // 2, TOP + BOX_H, COLUMNS[3] + BOX_W // 2, BOTTOM - 4))
    found += [arrow(COLUMNS[i + 1], BOTTOM + middle, COLUMNS[i] + BOX_W + 4, BOTTOM + middle) for i in (2, 1)]
    found.append(arrow(COLUMNS[1] + BOX_W - 30, BOTTOM, COLUMNS[2] + 30, TOP + BOX_H + 4))
    if bad_of(report) is not None:
        found.append(arrow(COLUMNS[0] + BOX_W - 30, BOTTOM, COLUMNS[2] + 6, TOP + BOX_H + 4, colour=RED, dashed=True))
    return found


def bad_of(report: dict[str, Any]) -> dict[str, Any] | None:
    return next((r for r in report["rollouts"] if r["kind"] == "bad"), None)


def draw(report: dict[str, Any]) -> str:
    audit = report["audit"]
    chain = "intact" if audit["intact"] else "BROKEN"
    trail = f"One audit trail: {audit['lines']} lines, chain {chain}. All of it in {report['seconds']:.0f} s."
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L10 5L0 10z" fill="{colour}"/></marker>'
        for name, colour in (("sea", SEA), ("red", RED))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" role="img" '
        f'aria-label="The loop: teacher, students, rollout, fleet, drift, federated rounds, better students"><defs>{heads}</defs>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        f'<text x="24" y="44" font-size="20" font-weight="700" fill="{INK}">The loop, with the figures of one `make demo`</text>'
        f'<text x="24" y="66" font-size="13" fill="{INK}">The cloud trains, measures and releases.</text>'
        f'<text x="24" y="{BOTTOM + BOX_H + 26}" font-size="13" fill="{INK}">'
        "The nodes learn from their own data, which stays there.</text>"
        + "".join(arrows_of(report))
        + "".join(above(report) + below(report))
        + f'<text x="24" y="{HEIGHT - 40}" font-size="14" fill="{INK}">{escape(trail)}</text></svg>\n'
    )


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.write_text(draw(json.loads(source.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
