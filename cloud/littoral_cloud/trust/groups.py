"""From the groups that a provider says somebody is in, to a role. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from littoral.errors import BadInput
from littoral_cloud.trust.people import Role

_HINT = "like LITTORAL_OIDC_ROLES=fleet-admins=admin,everyone=viewer"


def parse_roles(texts: Sequence[str]) -> Mapping[str, Role]:
    """The role of each group, from GROUP=ROLE. Raises BadInput."""
    roles: dict[str, Role] = {}
    for text in texts:
        group, equals, role = text.rpartition("=")
        if not equals or not group or role not in set(Role):
            raise BadInput(f"oidc_roles: {text[:80]!r} is not GROUP=ROLE", hint=_HINT)
        roles[group] = Role(role)
    return roles


def role_in(groups: Iterable[str], roles: Mapping[str, Role]) -> Role | None:
    """The highest role of these groups; None: none of them has one."""
    found = {roles[group] for group in groups if group in roles}
    return next((role for role in reversed(Role) if role in found), None)
