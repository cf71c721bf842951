"""`littoral-node upgrade`: a new release beside the old one, tried, switched to; and back where it does not get ready."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from littoral.errors import FleetError
from littoral_node.installing.environments import InstallFailed, ran
from littoral_node.installing.install import Wanted, environment_steps, node_command, removal_steps, write_unit
from littoral_node.installing.layout import Layout
from littoral_node.installing.system import Service
from littoral_node.installing.work import Step


class UpgradeRefused(FleetError):
    """A new release did not pass its trial, or did not get ready: the old one runs."""

    code = "upgrade-refused"


def upgrade_steps(wanted: Wanted, service: Service | None, *, within_s: float, keep: int) -> Iterator[Step]:
    """Args:
    service: None: nothing is restarted.
    within_s: how long the new release may take to get ready.
    keep: how many old releases stay, 0 or 1.
    """
    install = wanted.install
    layout = Layout(Path(install.prefix))
    old, new = layout.running(), layout.free_name(wanted.version)
    yield from environment_steps(layout, wanted, new)
    yield Step(
        f"try it: its doctor finds no more than {old}'s, and every model that is served loads",
        lambda: tried(layout, wanted, old, new),
    )
    yield Step(f"switch {layout.current} from {old} to {new}", lambda: layout.switch(new))
    if install.unit:
        yield Step(f"write {install.unit}", lambda: write_unit(install))
    if service is not None:
        yield Step(
            f"restart it; back to {old} where it is not ready in {within_s:g} s",
            lambda: restarted(layout, service, old, new, within_s),
        )
    yield from removal_steps(layout, (old, new) if keep else (new,))


def tried(layout: Layout, wanted: Wanted, old: str, new: str) -> str:
    """Raises UpgradeRefused, having removed the new release."""
    data, user = wanted.install.data, wanted.install.user
    try:
        worse = _bad(layout, new, data, user) - (_bad(layout, old, data, user) if old else set())
        if worse:
            raise UpgradeRefused(f"upgrade: {new}'s doctor finds: {'; '.join(sorted(worse))}", hint="the old release goes on")
        said = ran(
            [layout.release(new) / "bin" / "python", "-m", "littoral_node.installing.smoke_test", "--data", data], user=user
        )
    except InstallFailed as error:
        layout.remove(new)
        raise UpgradeRefused(f"upgrade: {new} failed its trial: {error.message}", hint="the old release goes on") from error
    except BaseException:
        layout.remove(new)
        raise
    loaded = json.loads(said)["loaded"]
    return f"loads {', '.join(loaded)}" if loaded else "no model is served yet"


def restarted(layout: Layout, service: Service, old: str, new: str, within_s: float) -> str:
    """Raises UpgradeRefused, with the old release running again; FleetError where not even that starts."""
    try:
        service.restart(within_s)
    except InstallFailed as error:
        if not old:
            raise
        layout.switch(old)
        try:
            service.restart(within_s)
        except InstallFailed as again:
            raise UpgradeRefused(
                f"upgrade: {new} was not ready in {within_s:g} s, and {old} is not either: {again.message}",
                hint="littoral-node doctor, and the journal of the unit, say more; it goes on trying",
            ) from error
        layout.remove(new)
        raise UpgradeRefused(
            f"upgrade: {new} was not ready in {within_s:g} s: {error.message}",
            hint=f"{old} runs again; the unit's journal says more",
        ) from error
    return "ready"


def _bad(layout: Layout, name: str, data: str, user: str) -> set[str]:
    """What a release's doctor finds bad. It ends with 1 where it finds anything."""
    said = ran([node_command(layout, name), "doctor", "--data", data, "--format", "json"], user=user, well=(0, 1))
    try:
        findings: list[dict[str, Any]] = json.loads(said)["findings"]
    except (ValueError, KeyError) as error:
        raise InstallFailed(
            f"{name}: its doctor says nothing that can be read: {said[:200]!r}", hint="the old release goes on"
        ) from error
    return {f"{finding['check']}: {finding['detail']}" for finding in findings if finding["verdict"] == "bad"}
