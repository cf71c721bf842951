"""Use cases of cohorts: names for filters over nodes."""

from __future__ import annotations

from dataclasses import dataclass

from littoral_cloud.commands.paging import Page, page_of
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet import cohorts
from littoral_cloud.fleet.cohorts import Cohort, matching
from littoral_cloud.fleet.records import Node
from littoral_cloud.trust.people import Caller, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCohort:
    """`nodes`: how many it has now."""

    name: str
    where: str
    schema: int
    nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortShown:
    """`names`: of the nodes that it has now, those that the caller may see."""

    name: str
    where: str
    schema: int
    nodes: int
    names: tuple[str, ...]


@use_case("cohort.save", Role.OPERATOR)
async def save(office: Office, caller: Caller, *, name: str, where: str) -> SavedCohort:
    """Saves a filter under a name, in place of the one before."""
    cohort = await cohorts.save_cohort(office.core.ledger, name, where, caller.name)
    nodes = len(await _nodes(office, caller, cohort))
    return SavedCohort(name=cohort.name, where=cohort.where, schema=cohort.schema, nodes=nodes)


@use_case("cohort.list", Role.VIEWER)
async def page(office: Office, caller: Caller, *, after: str, limit: int) -> Page[Cohort]:
    """Cohorts, by name."""
    every = await cohorts.all_cohorts(office.core.ledger)
    return page_of(every, lambda each: each.name, lambda each: each, of="cohorts", after=after, limit=limit)


@use_case("cohort.show", Role.VIEWER)
async def show(office: Office, caller: Caller, *, name: str) -> CohortShown:
    """A cohort's filter, and the nodes that it has now."""
    cohort = await cohorts.read_cohort(office.core.ledger, name)
    names = tuple(sorted(node.name for node in await _nodes(office, caller, cohort)))
    return CohortShown(name=cohort.name, where=cohort.where, schema=cohort.schema, nodes=len(names), names=names)


@use_case("cohort.delete", Role.OPERATOR)
async def delete(office: Office, caller: Caller, *, name: str) -> None:
    """Deletes a cohort. Rollouts that were started with it keep its filter."""
    await cohorts.delete_cohort(office.core.ledger, name, caller.name)


async def _nodes(office: Office, caller: Caller, cohort: Cohort) -> list[Node]:
    """Those that the caller may see."""
    found = await matching(office.core.ledger, cohort.where)
    return [node for node in found if caller.scope.has_node(node.labels)]
