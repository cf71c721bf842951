"""Where no terminal draws a bar, long work says how far it is in lines."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from littoral_cloud.demo.terminal import Terminal
from littoral_cloud.terminal.progress import EVERY_S, progress_of


def test_a_log_gets_a_line_now_and_then_with_what_is_left() -> None:
    now = 0.0
    out = io.StringIO()
    with progress_of("training", Console(file=out, soft_wrap=True), lambda: now) as told:
        for step in range(1, 101):
            now = step / 2
            told(step / 200)
    lines = out.getvalue().splitlines()
    assert lines[0] == f"training: 15% after {EVERY_S:.0f} s, about 88 s left"
    assert len(lines) == 50 // EVERY_S


def test_what_was_done_before_it_went_on_is_not_taken_for_speed() -> None:
    now = 0.0
    out = io.StringIO()
    with progress_of("training", Console(file=out, soft_wrap=True), lambda: now) as told:
        told(0.8)
        now = 20.0
        told(0.9)
    assert out.getvalue().splitlines() == ["training: 90% after 20 s, about 20 s left"]


def test_the_demo_says_it_so_too(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    terminal = Terminal(lambda: now)
    with terminal.bar("training") as told:
        told(0.1)
        now = 20.0
        told(0.6)
    said = capsys.readouterr()
    assert "training: 60% after 20 s, about 16 s left" in said.out + said.err
