"""The ledger in memory, which simulations write to, keeps the contract: the same cases as over Redis."""

from __future__ import annotations

import asyncio

import pytest

from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.simulate.memory_ledger import MemoryLedger
from tests.contract.test_ledger_contract import (  # noqa: F401 - pytest runs them here too, with the fixture below
    test_a_change_is_written_whole_or_not_at_all,
    test_a_deleted_document_is_gone_and_counts_on_when_it_comes_back,
    test_a_document_has_generation_1_when_new_and_one_more_with_every_write,
    test_a_kind_in_order_is_read_page_by_page_by_id,
    test_a_lease_outlives_its_ttl_while_it_is_held,
    test_a_quiet_write_is_not_announced,
    test_a_watcher_is_woken_by_what_it_watches_and_by_nothing_else,
    test_a_watcher_that_is_slow_hears_of_a_document_once,
    test_a_write_with_the_token_of_an_old_holder_is_refused,
    test_an_announcement_names_the_newest_generation,
    test_every_document_of_a_kind_comes_in_pages,
    test_many_documents_are_read_at_one_time,
    test_of_many_who_take_at_the_same_moment_each_gets_one_until_nothing_is_left,
    test_of_many_who_write_at_the_same_moment_one_succeeds,
    test_the_audit_trail_can_be_read_in_pages,
)


@pytest.fixture
async def ledger() -> Ledger:
    return MemoryLedger(asyncio.get_running_loop().time)
