"""Use case of nodes' certificates: which end soon, or have ended."""

from __future__ import annotations

from dataclasses import dataclass

from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet.nodes import view_nodes
from littoral_cloud.trust.people import Caller, Role

MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LateCertificate:
    name: str
    warning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """`late`: how many of the nodes have one that ends soon or has ended; `first`: of these, by name."""

    nodes: int
    late: int
    first: tuple[LateCertificate, ...]


@use_case("certificate.list", Role.VIEWER)
async def late(office: Office, caller: Caller) -> Certificates:
    """The nodes whose certificate ends soon, or has ended."""
    now = office.core.clock()
    views = [view for view in await view_nodes(office.core.ledger, now) if caller.scope.has_node(view.node.labels)]
    found = sorted((view.node.name, warning) for view in views if (warning := view.certificate_warning(now)))
    first = tuple(LateCertificate(name=name, warning=warning) for name, warning in found[:MOST])
    return Certificates(nodes=len(views), late=len(found), first=first)
