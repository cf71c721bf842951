"""The sum of the quotas is never more than the limits, whatever is named, and whoever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.budget import Budget
from littoral.errors import BadInput
from littoral.quota import NodeLimits, Quota, check_quotas, quotas_of, within_quotas

LIMITS = NodeLimits(memory_bytes=40_000_000, disk_bytes=9_000_000, requests=100)


def budgets(**texts: str) -> dict[str, Budget]:
    return {name: Budget.parse(text) for name, text in texts.items()}


def test_a_fraction_a_figure_and_what_is_left() -> None:
    named = budgets(digits="quota=50%", faces="rss<=8MB,disk<=3MB")
    found = quotas_of(LIMITS, named, ["words", "tones"])
    assert found["digits"] == Quota(20_000_000, 4_500_000, 50)
    assert found["faces"] == Quota(8_000_000, 3_000_000, 16)  # of requests it has no quota of its own
    assert found["words"] == found["tones"] == Quota(6_000_000, 750_000, 16)
    assert found[""].memory_bytes == 4_000_000  # one more that would come


def test_without_a_whole_nothing_is_bounded() -> None:
    assert quotas_of(NodeLimits(), budgets(digits="quota=50%"), ["faces"])["faces"] == Quota(None, None, 128)
    assert within_quotas(NodeLimits(), {"": Budget.parse("artifact<=20KB")}, ["faces"])["faces"] == Budget.parse("artifact<=20KB")


def test_a_models_budget_is_bounded_by_its_share() -> None:
    found = within_quotas(LIMITS, {"": Budget.parse("rss<=1MB"), **budgets(digits="quota=50%,p95<=2ms")}, ["faces"])
    assert found["digits"] == Budget(latency_ms=2.0, quota=0.5, peak_rss_bytes=20_000_000, artifact_bytes=1_500_000)
    assert (found["faces"].peak_rss_bytes, found["faces"].artifact_bytes) == (1_000_000, 1_500_000)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (budgets(a="quota=60%", b="quota=50%"), "the quotas of quota add up to 110% of 100%: a 60%, b 50%"),
        (budgets(a="rss<=30MB", b="rss<=20MB"), "the quotas of memory add up to 50,000,000 bytes of 40,000,000 bytes"),
        (budgets(a="quota=50%", b="rss<=30MB"), "a 20,000,000 bytes, b 30,000,000 bytes"),
        (budgets(a="disk<=10MB"), "the quotas of disk add up to 10,000,000 bytes of 9,000,000 bytes"),
        (budgets(a="quota=100%", b=""), "a 100% take all of quota, nothing is left for b"),
        ({"": Budget.parse("quota=10%")}, "quota=0.1 would be the quota of every model"),
    ],
)
def test_quotas_that_are_more_than_the_whole_are_refused_by_name(named: dict[str, Budget], words: str) -> None:
    with pytest.raises(BadInput) as refused:
        check_quotas(LIMITS, named)
    assert words in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("text", ["quota=0%", "quota=101%", "quota=half", "share<=50%", "disk<=2XB"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="budget"):
        Budget.parse(text)


NAMES = st.sampled_from(["a", "b", "c", "d"])
BUDGETS = st.builds(
    Budget,
    quota=st.none() | st.floats(0.001, 1.0),
    peak_rss_bytes=st.none() | st.integers(0, 10**9),
    disk_bytes=st.none() | st.integers(0, 10**9),
)


@given(
    st.builds(NodeLimits, st.none() | st.integers(1, 10**9), st.none() | st.integers(1, 10**9), st.integers(4, 300)),
    st.dictionaries(NAMES, BUDGETS),
    st.sets(st.sampled_from(["a", "b", "x", "y", "z"])),
)
def test_the_sum_of_the_quotas_is_held(limits: NodeLimits, named: dict[str, Budget], models: set[str]) -> None:
    try:
        check_quotas(limits, named)
    except BadInput:
        return
    found = {name: quota for name, quota in quotas_of(limits, named, models).items() if name}
    assert set(found) == set(named) | models
    for field, all_of_it in (("memory_bytes", limits.memory_bytes), ("disk_bytes", limits.disk_bytes)):
        parts = [getattr(quota, field) for quota in found.values()]
        assert all_of_it is None or sum(parts) <= all_of_it
    assert sum(quota.requests for quota in found.values()) <= max(limits.requests, 0) + len(found)
    assert all(quota.requests >= 1 for quota in found.values())


@given(BUDGETS)
def test_what_is_written_is_read_again(budget: Budget) -> None:
    assert Budget.parse(str(budget)) == budget
