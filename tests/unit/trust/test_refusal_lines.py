"""A caller that is refused again and again does not fill the audit trail, and nothing is hidden."""

from __future__ import annotations

from littoral_cloud.trust.people import Caller, Role
from littoral_cloud.trust.refusals import AT_ONCE, PER_SECOND, RefusalLines

ADA, BEN = (Caller(name=name, role=Role.VIEWER, id=name) for name in ("ada", "ben"))


def test_a_caller_over_its_rate_is_counted_and_others_are_written() -> None:
    refusals = RefusalLines()
    lines = [refusals.line(ADA, "rollout.start", 5.0) for _ in range(100)]
    assert [line is not None for line in lines] == [True] * AT_ONCE + [False] * (100 - AT_ONCE)
    assert refusals.line(BEN, "rollout.start", 5.0) is not None
    later = refusals.line(ADA, "node.revoke", 5.0 + 1 / PER_SECOND)
    assert later is not None
    assert (later.subject, later.actor, later.details["left_out"]) == ("node.revoke", "ada", 100 - AT_ONCE)
    last = refusals.line(ADA, "node.revoke", 5.0 + 3 / PER_SECOND)
    assert last is not None
    assert "left_out" not in last.details


def test_what_is_remembered_is_bounded() -> None:
    refusals = RefusalLines()
    for number in range(3_000):
        refusals.line(Caller(name="x", role=Role.VIEWER, id=str(number)), "node.show", 0.0)
    assert len(refusals) == 1_000
