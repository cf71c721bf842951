"""The sum of the shares is never more than the whole, whatever is named, and whoever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.budget import Budget
from littoral.errors import BadInput
from littoral.quota import Share, Whole, check_shares, held, shares_of

WHOLE = Whole(memory_bytes=40_000_000, disk_bytes=9_000_000, requests=100)


def budgets(**texts: str) -> dict[str, Budget]:
    return {name: Budget.parse(text) for name, text in texts.items()}


def test_a_fraction_a_figure_and_what_is_left() -> None:
    named = budgets(digits="share=50%", faces="rss<=8MB,disk<=3MB")
    found = shares_of(WHOLE, named, ["words", "tones"])
    assert found["digits"] == Share(20_000_000, 4_500_000, 50)
    assert found["faces"] == Share(8_000_000, 3_000_000, 16)  # of requests it has no share of its own
    assert found["words"] == found["tones"] == Share(6_000_000, 750_000, 16)
    assert found[""].memory_bytes == 4_000_000  # one more that would come


def test_without_a_whole_nothing_is_bounded() -> None:
    assert shares_of(Whole(), budgets(digits="share=50%"), ["faces"])["faces"] == Share(None, None, 128)
    assert held(Whole(), {"": Budget.parse("artifact<=20KB")}, ["faces"])["faces"] == Budget.parse("artifact<=20KB")


def test_a_models_budget_is_bounded_by_its_share() -> None:
    found = held(WHOLE, {"": Budget.parse("rss<=1MB"), **budgets(digits="share=50%,p95<=2ms")}, ["faces"])
    assert found["digits"] == Budget(latency_ms=2.0, share=0.5, peak_rss_bytes=20_000_000, artifact_bytes=1_500_000)
    assert (found["faces"].peak_rss_bytes, found["faces"].artifact_bytes) == (1_000_000, 1_500_000)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (budgets(a="share=60%", b="share=50%"), "the shares of share add up to 110% of 100%: a 60%, b 50%"),
        (budgets(a="rss<=30MB", b="rss<=20MB"), "the shares of memory add up to 50,000,000 bytes of 40,000,000 bytes"),
        (budgets(a="share=50%", b="rss<=30MB"), "a 20,000,000 bytes, b 30,000,000 bytes"),
        (budgets(a="disk<=10MB"), "the shares of disk add up to 10,000,000 bytes of 9,000,000 bytes"),
        (budgets(a="share=100%", b=""), "a 100% take all of share, nothing is left for b"),
        ({"": Budget.parse("share=10%")}, "share=0.1 would be the share of every model"),
    ],
)
def test_shares_that_are_more_than_the_whole_are_refused_by_name(named: dict[str, Budget], words: str) -> None:
    with pytest.raises(BadInput) as refused:
        check_shares(WHOLE, named)
    assert words in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("text", ["share=0%", "share=101%", "share=half", "share<=50%", "disk<=2XB"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="budget"):
        Budget.parse(text)


NAMES = st.sampled_from(["a", "b", "c", "d"])
BUDGETS = st.builds(
    Budget,
    share=st.none() | st.floats(0.001, 1.0),
    peak_rss_bytes=st.none() | st.integers(0, 10**9),
    disk_bytes=st.none() | st.integers(0, 10**9),
)


@given(
    st.builds(Whole, st.none() | st.integers(1, 10**9), st.none() | st.integers(1, 10**9), st.integers(4, 300)),
    st.dictionaries(NAMES, BUDGETS),
    st.sets(st.sampled_from(["a", "b", "x", "y", "z"])),
)
def test_the_sum_of_the_shares_is_held(whole: Whole, named: dict[str, Budget], models: set[str]) -> None:
    try:
        check_shares(whole, named)
    except BadInput:
        return
    found = {name: share for name, share in shares_of(whole, named, models).items() if name}
    assert set(found) == set(named) | models
    for field, all_of_it in (("memory_bytes", whole.memory_bytes), ("disk_bytes", whole.disk_bytes)):
        parts = [getattr(share, field) for share in found.values()]
        assert all_of_it is None or sum(parts) <= all_of_it
    assert sum(share.requests for share in found.values()) <= max(whole.requests, 0) + len(found)
    assert all(share.requests >= 1 for share in found.values())


@given(BUDGETS)
def test_what_is_written_is_read_again(budget: Budget) -> None:
    assert Budget.parse(str(budget)) == budget
