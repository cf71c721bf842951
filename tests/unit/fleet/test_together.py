"""Announcements of one document, one taken and another still waiting: the newer generation is what counts."""

from __future__ import annotations

from littoral_cloud.fleet.feed import AnnouncementQueue
from littoral_cloud.fleet.ledger import Announcement, together


async def test_of_one_that_was_taken_and_one_that_came_since_the_newer_counts() -> None:
    queue = AnnouncementQueue(frozenset({"rollout"}))
    queue.put(Announcement("rollout", "r1", 2))
    first = await anext(queue)
    queue.put(Announcement("rollout", "r1", 3))
    queue.put(Announcement("rollout", "r2", 7))
    assert {each.id: each.generation for each in together(first, queue.drain())} == {"r1": 3, "r2": 7}


async def test_one_alone_is_what_it_was() -> None:
    assert [each.generation for each in together(Announcement("rollout", "r1", 2), frozenset())] == [2]
