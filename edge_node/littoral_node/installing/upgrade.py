"""The steps of `littoral-node upgrade`: installs a new release beside the old one, tests it, switches to it, or goes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from littoral.errors import FleetError
from littoral_node.installing.environments import InstallFailed, ran
from littoral_node.installing.install import InstallRequest, environment_steps, node_command, removal_steps, write_unit
from littoral_node.installing.layout import Layout
from littoral_node.installing.system import Systemd
from littoral_node.installing.work import InstallStep


class UpgradeRefused(FleetError):
    """A new release failed its smoke test, or did not get ready: the old one runs."""

    code = "upgrade-refused"


def upgrade_steps(request: InstallRequest, service: Systemd | None, *, within_s: float, keep: int) -> Iterator[InstallStep]:
    """Args:
    service: None: restart nothing.
    within_s: the time for the new release to get ready, seconds.
    keep: how many old releases stay, 0 or 1.
    """
    install = request.install
    layout = Layout(Path(install.prefix))
    old, new = layout.running(), layout.free_name(request.version)
    yield from environment_steps(layout, request, new)
    yield InstallStep(
        f"test it: its doctor finds no more than {old}'s, and every served model loads",
        lambda: tested(layout, request, old, new),
    )
    yield InstallStep(f"switch {layout.current} from {old} to {new}", lambda: layout.switch(new))
    if install.unit:
        yield InstallStep(f"write {install.unit}", lambda: write_unit(install))
    if service is not None:
        yield InstallStep(
            f"restart it; back to {old} where it is not ready in {within_s:g} s",
            lambda: restarted(layout, service, old, new, within_s),
        )
    yield from removal_steps(layout, (old, new) if keep else (new,))


def tested(layout: Layout, request: InstallRequest, old: str, new: str) -> str:
    """Runs the smoke test. Removes the new release and raises UpgradeRefused where it fails."""
    data, user = request.install.data, request.install.user
    try:
        worse = _bad(layout, new, data, user) - (_bad(layout, old, data, user) if old else set())
        if worse:
            raise UpgradeRefused(f"upgrade: {new}'s doctor finds: {'; '.join(sorted(worse))}", hint="the old release still runs")
        output = ran(
            [layout.release(new) / "bin" / "python", "-m", "littoral_node.installing.smoke_test", "--data", data], user=user
        )
    except InstallFailed as error:
        layout.remove(new)
        raise UpgradeRefused(
            f"upgrade: {new} failed its smoke test: {error.message}", hint="the old release still runs"
        ) from error
    except BaseException:
        layout.remove(new)
        raise
    loaded = json.loads(output)["loaded"]
    return f"loads {', '.join(loaded)}" if loaded else "no model is served yet"


def restarted(layout: Layout, service: Systemd, old: str, new: str, within_s: float) -> str:
    """Restarts the service. Raises UpgradeRefused where the new release is not ready; then the old one runs, if it starts."""
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
                hint="littoral-node doctor, and the journal of the unit, say more; the unit keeps trying",
            ) from error
        layout.remove(new)
        raise UpgradeRefused(
            f"upgrade: {new} was not ready in {within_s:g} s: {error.message}",
            hint=f"{old} runs again; the unit's journal says more",
        ) from error
    return "ready"


def _bad(layout: Layout, name: str, data: str, user: str) -> set[str]:
    """The bad findings of a release's doctor, which ends with 1 where there is any."""
    output = ran([node_command(layout, name), "doctor", "--data", data, "--format", "json"], user=user, well=(0, 1))
    try:
        findings: list[dict[str, Any]] = json.loads(output)["findings"]
    except (ValueError, KeyError) as error:
        raise InstallFailed(
            f"{name}: its doctor printed no findings: {output[:200]!r}", hint="the old release still runs"
        ) from error
    return {f"{finding['check']}: {finding['detail']}" for finding in findings if finding["verdict"] == "bad"}
