"""What the doctor says of the fleet's keys on this machine."""

from __future__ import annotations

from pathlib import Path

from littoral.errors import FleetError
from littoral_cloud.app import key_commands
from littoral_cloud.settings import CloudSettings
from littoral_cloud.trust.ca import open_ca
from littoral_cloud.trust.command_key import KeyCommands, tried
from littoral_cloud.trust.signing import open_signing_key
from littoral_cloud.trust.store import numbered


def key_findings(settings: CloudSettings) -> list[tuple[str, bool, str, str]]:
    """(check, whether it is well, what was found, the way out) of each key. Makes none: the first command that needs them does.
    Has each command sign once. Raises BadInput where a setting is none."""
    commands, findings = key_commands(settings), []
    for name, command in (("ca", commands.ca), ("signing", commands.signing)):
        places = numbered(settings.keys, name)
        if not places:
            findings.append((f"{name} key", True, "none yet: the first start makes it", ""))
        for place in places:
            if len(places) > 1 and command is None and not (place / "key.pem").exists():
                findings.append((f"{place.name} key", True, f"{place}: destroyed, or elsewhere", ""))
                continue
            try:
                findings.append((f"{place.name} key", True, f"{place}{tried(_key_in(name, place, commands))}", ""))
            except FleetError as error:
                findings.append((f"{place.name} key", False, error.message, error.hint))
    return findings


def _key_in(name: str, place: Path, commands: KeyCommands) -> object:
    return open_ca(place, 0.0, commands.ca).key if name == "ca" else open_signing_key(place, commands.signing).key
