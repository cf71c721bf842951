"""Who asks for something, and what that one may do. Pure.

A role has every right of the roles before it: a viewer reads, an operator changes what the fleet runs, an admin changes who may
do what, and what the fleet trusts. A scope narrows a role to nodes with some labels, and to some models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from littoral.errors import Untrusted


class Role(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, needed: Role) -> bool:
        """Whether this role has every right of the other."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Denied(Untrusted):
    """The caller is known, and has not the role or the scope for this."""

    code = "denied"


class NotSignedIn(Untrusted):
    """No token or session came with a request, or one that is unknown, expired or revoked."""

    code = "not-signed-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where a role counts. Empty: everywhere."""

    labels: Mapping[str, str] = field(default_factory=dict)  # that a node must have, all of them
    models: tuple[str, ...] = ()

    def has_node(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.labels.items())

    def has_model(self, model: str) -> bool:
        return not self.models or model in self.models

    @property
    def everywhere(self) -> bool:
        return not self.labels and not self.models

    def __str__(self) -> str:
        parts = [*(f"{key}={value}" for key, value in self.labels.items()), *(f"model:{model}" for model in self.models)]
        return ",".join(parts) or "everything"


EVERYWHERE = Scope()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """`name` is the actor in the audit trail. `id`: of the token or session; "": of the machine's own user, or of the loop."""

    name: str
    role: Role
    scope: Scope = EVERYWHERE
    id: str = ""

    def needs_model(self, model: str) -> None:
        """Raises Denied where the scope has not this model."""
        if not self.scope.has_model(model):
            raise self._outside(f"model {model}")

    def needs_node(self, name: str, labels: Mapping[str, str]) -> None:
        """Raises Denied where the scope has not this node."""
        if not self.scope.has_node(labels):
            raise self._outside(f"node {name}")

    def needs_own_machine(self, field: str) -> None:
        """Raises Denied where the caller is not the user of the coordinator's own machine: files of that machine are named."""
        if self.id:
            raise Denied(f"{field}: only the user of the coordinator's own machine names files there", hint="leave it out")

    def _outside(self, what: str) -> Denied:
        return Denied(f"{what}: is outside of the scope of {self.name}: {self.scope}", hint="ask an admin for a wider scope")


LOOP = Caller(name="loop", role=Role.OPERATOR)
"""The closed loop, which acts by itself where `auto_loop` is set."""


def details(caller: Caller) -> Mapping[str, Any]:
    """Of a caller, for a line of the audit trail."""
    return {"role": caller.role.value, "scope": str(caller.scope)}
