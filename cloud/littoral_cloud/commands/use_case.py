"""A use case: something that an operator can do, and the role that it needs. The API, the command line, the loop and the page
call use cases and nothing else.

Each is a coroutine function of an `Office` and a `Caller`, whose further arguments are keywords; it gives plain values. The role
is declared beside it, and checked before its first line. Scopes are checked inside, where the node or the model is known.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

from littoral_cloud.app import Core
from littoral_cloud.fleet.ledger import Change
from littoral_cloud.fleet.node_names import NodeNames
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.health.health import CoordinatorHealth
from littoral_cloud.rollouts.seen_fleet import SeenFleet
from littoral_cloud.trust.people import Caller, Denied, Role
from littoral_cloud.trust.refusals import RefusalLines

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Office:
    """What use cases stand on.

    `view`, `names`, `health`, `fleet`: None in a process that serves no fleet; the ledger is read in their place. `heavy`: what
    takes a processor for long waits for it.
    """

    core: Core
    view: FleetView | None = None
    names: NodeNames | None = None
    health: CoordinatorHealth | None = None
    fleet: SeenFleet | None = None
    heavy: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    refusals: RefusalLines = field(default_factory=RefusalLines)


@dataclass(frozen=True, slots=True)
class UseCase:
    """`name` is "noun.verb"."""

    name: str
    role: Role
    run: Callable[..., Awaitable[Any]]


USE_CASES: dict[str, UseCase] = {}
"""All of them, by name."""


def check_role(caller: Caller, name: str, role: Role) -> None:
    """Raises Denied where the caller has a lower role than a use case needs."""
    if not caller.role.includes(role):
        raise Denied(
            f"{name}: needs the role {role.value}, and {caller.name} is {caller.role.value}",
            hint="ask an admin for a token with that role",
        )


@asynccontextmanager
async def refusals_audited(office: Office, caller: Caller, name: str) -> AsyncIterator[None]:
    """A Denied that leaves the context is in the audit trail, or is counted there."""
    try:
        yield
    except Denied:
        if (line := office.refusals.line(caller, name, asyncio.get_running_loop().time())) is not None:
            await office.core.ledger.commit(Change((), (line,)))
        raise


def use_case(
    name: str, role: Role
) -> Callable[[Callable[Concatenate[Office, Caller, P], Awaitable[R]]], Callable[Concatenate[Office, Caller, P], Awaitable[R]]]:
    """Declares a use case. Calling it raises Denied, with a line in the audit trail, where the caller has a lower role."""

    def declare(
        function: Callable[Concatenate[Office, Caller, P], Awaitable[R]],
    ) -> Callable[Concatenate[Office, Caller, P], Awaitable[R]]:
        assert name not in USE_CASES, f"two use cases are called {name}"

        @functools.wraps(function)
        async def run(office: Office, caller: Caller, /, *args: P.args, **given: P.kwargs) -> R:
            async with refusals_audited(office, caller, name):
                check_role(caller, name, role)
                return await function(office, caller, *args, **given)

        run.use_case = USE_CASES[name] = UseCase(name, role, run)  # type: ignore[attr-defined]
        return run

    return declare


def use_case_of(function: Callable[..., Any]) -> UseCase:
    """Of a function that `use_case` has declared. Raises AttributeError."""
    found: UseCase = function.use_case  # type: ignore[attr-defined]
    return found
