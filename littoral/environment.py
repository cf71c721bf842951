"""Tells the LITTORAL_ variables of an operator from those that Kubernetes or Docker set for a service of that name.

Kubernetes gives every pod, for each service of its namespace, the variables of Docker's old links (`enableServiceLinks`): for one
called "littoral-fleet" LITTORAL_FLEET_SERVICE_HOST, LITTORAL_FLEET_PORT=tcp://10.0.0.7:7444, LITTORAL_FLEET_PORT_7444_TCP_ADDR
and so on. Some have the names of settings; their values tell the difference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_SERVICE = re.compile(
    r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR|(PORT_)?(START|END)))?)", re.I
)
_PORT = re.compile(r"\w+_PORT", re.I)
_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+")
_LINK = re.compile(r"/[^/\s]+/[^/\s]+")  # what Docker says in ALIAS_NAME: /this-container/alias


def put_there(name: str, environment: Mapping[str, str]) -> bool:
    """Whether a variable of this environment is one that Kubernetes or Docker put there."""
    value, upper = environment[name], name.upper()
    if not upper.startswith("LITTORAL_"):
        return False
    if _SERVICE.fullmatch(name) or (_PORT.fullmatch(name) and _ADDRESS.fullmatch(value)):
        return True
    if upper.endswith("_NAME"):
        return _LINK.fullmatch(value) is not None
    alias, env, _ = name.partition("_ENV_")
    return bool(env) and _LINK.fullmatch(environment.get(f"{alias}_NAME", "")) is not None


def of_operators(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without those."""
    return {name: value for name, value in environment.items() if not put_there(name, environment)}
