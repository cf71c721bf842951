"""Which event goes next: in order for each subject, with growing pauses, and a cursor that loses nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadInput
from littoral_cloud.fleet.ledger import AuditEntry
from littoral_cloud.webhooks.queue import GIVE_UP_S, Queue
from littoral_cloud.webhooks.records import Webhook, checked_events, checked_url


def entry(number: int, subject: str = "camera", at: float = 0.0) -> AuditEntry:
    return AuditEntry(id=f"{number}-0", at=at, action="node.enrolled", subject=subject, actor="x", details={}, chain="")


def queue(*subjects: str) -> Queue:
    made = Queue("0-0", random.Random(1))
    for number, subject in enumerate(subjects, 1):
        made.read(entry(number, subject), wanted=bool(subject))
    return made


def ids(made: Queue, now: float = 0.0) -> list[str]:
    return [each.id for each in made.due(now)]


def test_events_of_one_subject_wait_for_each_other_and_others_do_not() -> None:
    made = queue("a", "a", "b", "a")
    assert ids(made) == ["1-0", "3-0"]
    made.failed(entry(1, "a"), 0.0)
    assert ids(made) == ["3-0"]
    assert 1.0 <= made.next_at <= 2.0 or made.next_at == 0.0
    made.done(entry(3, "b"))
    assert ids(made, 2.0) == ["1-0"]
    made.done(entry(1, "a"))
    assert ids(made) == ["2-0"]


def test_pauses_grow_and_end_with_a_success() -> None:
    made, now, pauses = queue("a", "a"), 0.0, []
    for _ in range(12):
        made.failed(entry(1, "a"), now)
        pauses.append(made.next_at - now)
        now = made.next_at
    assert 1.0 <= pauses[0] <= 2.0
    assert 300.0 <= pauses[-1] <= 600.0
    made.done(entry(1, "a"))
    made.failed(entry(2, "a"), now)
    assert made.next_at - now <= 2.0


def test_an_event_is_given_up_after_a_day() -> None:
    made = queue("a")
    assert not made.too_old(entry(1, at=100.0), 100.0 + GIVE_UP_S - 1)
    assert made.too_old(entry(1, at=100.0), 100.0 + GIVE_UP_S)


@given(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=12), st.randoms(use_true_random=False))
def test_the_cursor_never_passes_an_event_that_waits(subjects: list[str], rng: random.Random) -> None:
    made = queue(*subjects)
    waiting = {f"{number}-0" for number, subject in enumerate(subjects, 1) if subject}
    while True:
        behind = int(made.cursor.partition("-")[0])
        assert all(int(id.partition("-")[0]) > behind for id in waiting)
        if not waiting:
            break
        one = rng.choice([*made.due(0.0)])
        made.done(one)
        waiting.remove(one.id)
    assert made.cursor == f"{len(subjects)}-0"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ops.example.org",
        "ftp://x.org",
        "http://ops.example.org/",
        "https://",
        "https://u:p@x.org/",
        "https://x.org:99999/",
        "https://x/\n",
    ],
)
def test_an_address_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="url: "):
        checked_url(url)


@pytest.mark.parametrize("events", [[], ["Rollout"], ["a" * 80], ["rollout *"], ["x"] * 33])
def test_patterns_that_cannot_be_are_refused(events: list[str]) -> None:
    with pytest.raises(BadInput, match="events: "):
        checked_events(events)


def test_what_a_webhook_wants() -> None:
    webhook = Webhook(url="", events=("*",), secret="", after="", created_at=0, created_by="")
    assert webhook.wants("rollout.started")
    assert not webhook.wants("webhook.gave-up")
