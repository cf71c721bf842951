"""Announcements of one document that come while its watcher gathers: the newest generation is what counts."""

from __future__ import annotations

from littoral_cloud.fleet.feed import AnnouncementQueue
from littoral_cloud.fleet.ledger import Announcement, news_within


async def test_of_one_that_was_waited_for_and_one_that_came_since_the_newer_counts() -> None:
    queue = AnnouncementQueue(frozenset({"rollout"}))
    queue.put(Announcement("rollout", "r1", 2))
    assert await news_within(queue, 60.0)
    queue.put(Announcement("rollout", "r1", 3))
    queue.put(Announcement("rollout", "r2", 7))
    assert {each.id: each.generation for each in queue.drain()} == {"r1": 3, "r2": 7}


async def test_one_alone_is_what_it_was() -> None:
    queue = AnnouncementQueue(frozenset({"rollout"}))
    queue.put(Announcement("rollout", "r1", 2))
    await queue.waiting()
    assert [each.generation for each in queue.drain()] == [2]
    assert not await news_within(queue, 0.0)
