"""When a maintenance window is open, in the node's own time zone, over both changes of daylight saving."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadInput
from littoral.maintenance import DAYS, check_zone_name, is_open, opens_at, parse_window, zone_named

BERLIN, NEW_YORK, LORD_HOWE = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")


def at(text: str) -> float:
    """Of "2026-03-29T01:30Z"."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def opening(window: str, zone: ZoneInfo, now: str) -> str:
    opens = opens_at(parse_window(window, "w"), zone, at(now))
    return datetime.fromtimestamp(opens, UTC).strftime("%Y-%m-%dT%H:%MZ")


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        ("", "2026-01-07T12:00Z", "2026-01-07T12:00Z"),  # at any time
        ("Always", "2026-01-07T12:00Z", "2026-01-07T12:00Z"),
        ("Mon-Fri 01:00-05:00", "2026-01-07T00:00Z", "2026-01-07T00:00Z"),  # Wednesday, 01:00 in Berlin
        ("Mon-Fri 01:00-05:00", "2026-01-07T04:00Z", "2026-01-08T00:00Z"),  # 05:00: the end does not belong to it
        ("Mon-Fri 01:00-05:00", "2026-01-09T12:00Z", "2026-01-12T00:00Z"),  # over the week-end
        ("Sat,Sun", "2026-01-07T12:00Z", "2026-01-09T23:00Z"),  # the whole day, by Berlin's midnight
        ("02:00-03:00", "2026-01-07T12:00Z", "2026-01-08T01:00Z"),  # every day
        ("Fri 22:00-06:00", "2026-01-10T04:59Z", "2026-01-10T04:59Z"),  # Saturday, 05:59: Friday's
        ("Fri 22:00-06:00", "2026-01-10T05:00Z", "2026-01-16T21:00Z"),
        ("Sun-Mon 01:00-02:00", "2026-01-06T12:00Z", "2026-01-11T00:00Z"),  # days over the end of the week
        ("Mon 01:00-02:00; Thu 01:00-02:00", "2026-01-06T12:00Z", "2026-01-08T00:00Z"),
        ("Wed 20:00-24:00", "2026-01-07T22:59Z", "2026-01-07T22:59Z"),
        ("Wed 20:00-24:00", "2026-01-07T23:00Z", "2026-01-14T19:00Z"),
    ],
)
def test_it_opens_by_the_clock_of_the_zone(window: str, now: str, opens: str) -> None:
    assert opening(window, BERLIN, now) == opens


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        # 2026-03-29, 02:00 becomes 03:00 in Berlin, at 01:00Z.
        ("Sun 01:30-04:00", "2026-03-28T12:00Z", "2026-03-29T00:30Z"),
        ("Sun 01:30-04:00", "2026-03-29T01:30Z", "2026-03-29T01:30Z"),  # 03:30
        ("Sun 01:30-04:00", "2026-03-29T02:00Z", "2026-04-04T23:30Z"),  # 04:00: it was open for an hour and a half
        ("Sun 02:30-04:00", "2026-03-28T12:00Z", "2026-03-29T01:00Z"),  # 02:30 is left out: from 03:00 on
        ("Sun 02:15-02:45", "2026-03-28T12:00Z", "2026-04-05T00:15Z"),  # all of it is left out: a week later
        # the day before and the day after have their usual hours
        ("01:00-05:00", "2026-03-27T12:00Z", "2026-03-28T00:00Z"),
        ("01:00-05:00", "2026-03-29T12:00Z", "2026-03-29T23:00Z"),
    ],
)
def test_an_hour_that_daylight_saving_leaves_out_opens_nothing(window: str, now: str, opens: str) -> None:
    assert opening(window, BERLIN, now) == opens


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        # 2026-10-25, 03:00 becomes 02:00 in Berlin, at 01:00Z.
        ("Sun 02:15-02:45", "2026-10-24T12:00Z", "2026-10-25T00:15Z"),
        ("Sun 02:15-02:45", "2026-10-25T00:45Z", "2026-10-25T01:15Z"),  # the second 02:15
        ("Sun 02:15-02:45", "2026-10-25T01:45Z", "2026-11-01T01:15Z"),
        ("Sun 01:30-02:30", "2026-10-25T00:30Z", "2026-10-25T01:00Z"),  # closed at 02:30, and open again at the second 02:00
        ("Sun 01:30-04:00", "2026-10-25T01:30Z", "2026-10-25T01:30Z"),  # open all the time
    ],
)
def test_an_hour_that_comes_twice_counts_twice(window: str, now: str, opens: str) -> None:
    assert opening(window, BERLIN, now) == opens


def test_zones_that_jump_by_half_an_hour_or_at_another_hour() -> None:
    assert opening("Sun 02:15-03:00", LORD_HOWE, "2026-10-03T12:00Z") == "2026-10-03T15:30Z"  # 02:00 becomes 02:30
    assert opening("Sun 02:30-05:00", NEW_YORK, "2026-03-08T05:00Z") == "2026-03-08T07:00Z"  # 02:00 becomes 03:00


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Foo", "'Foo' is no day"),
        ("Mon-Foo 01:00-02:00", "'Mon-Foo' is no day"),
        ("25:00-26:00", "'25:00-26:00' is not HH:MM-HH:MM"),
        ("01:60-02:00", "not HH:MM-HH:MM"),
        ("1:00-2:00", "not HH:MM-HH:MM"),
        ("Mon Tue 01:00-02:00", "is not days and times"),
        ("Mon; " * 50, "characters, at most 200"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_part(text: str, why: str) -> None:
    with pytest.raises(BadInput, match=f"--window: .*{why}"):
        parse_window(text, "--window")


@pytest.mark.parametrize("name", ["Europe/Atlantis", "../etc/passwd", "Europe", "a" * 100, "Berlin\n"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="is no time zone that is known here"):
        zone_named(name, "zone")
    with pytest.raises(BadInput, match="is no time zone that is known here"):
        check_zone_name(name, "zone")


TIMES = st.tuples(st.integers(0, 23), st.integers(0, 59), st.integers(0, 23), st.integers(0, 59)).map(
    lambda t: f"{t[0]:02}:{t[1]:02}-{t[2]:02}:{t[3]:02}"
)


@given(
    st.tuples(st.sampled_from(DAYS), TIMES).map(" ".join),
    st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, ZoneInfo("UTC")]),
    st.integers(int(at("2026-01-01T00:00Z")), int(at("2027-01-01T00:00Z"))),
)
def test_it_opens_within_two_weeks_and_is_closed_in_each_minute_before(text: str, zone: ZoneInfo, now: int) -> None:
    window = parse_window(text, "w")
    opens = opens_at(window, zone, now)
    assert now <= opens <= now + 15 * 86_400
    assert is_open(window, zone, opens)
    assert not any(is_open(window, zone, minute) for minute in range(now, int(opens), 900) if minute < opens)


def test_on_a_machine_without_a_database_of_zones_the_form_of_a_name_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("littoral.maintenance.available_timezones", set)
    assert check_zone_name("Europe/Atlantis", "zone") == "Europe/Atlantis"
    with pytest.raises(BadInput, match="is no time zone that is known here"):
        check_zone_name("Europe/Atlantis; rm", "zone")
