"""When evidence of a trial that grows is worth another report. Pure."""

from __future__ import annotations

EVIDENCE_EVERY_S = 20.0
"""Between two looks."""
GROWN = 1.5
"""Evidence is reported again when it has become this many times as large."""


def worth_a_report(size: int, reported: int, answers_s: float | None, report_s: float) -> bool:
    """Args:
    size, reported: of the evidence, now and when it was reported last.
    answers_s: for how long the candidate has answered clients; None: it does not yet.
    report_s: for how long growing evidence is reported.
    """
    if answers_s is not None and answers_s > report_s:
        return False
    return report_s > 0 and size > reported * GROWN
