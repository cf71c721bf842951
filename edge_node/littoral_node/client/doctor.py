"""`littoral-node doctor`: checks a node and its connection to the cloud, with a hint for each fault. Changes nothing.

Exit code 0: the node can serve and reach its fleet; 1: a check is bad.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from littoral.errors import FleetError
from littoral_node.certificates.asking import refused
from littoral_node.client.node import NodeAddress
from littoral_node.config.settings import FILE, ORDER, GivenSettings, NodeSettings, given_settings, origin, settings_from
from littoral_node.identity.files import read_json
from littoral_node.identity.folder import NodeFolder
from littoral_node.identity.identity import DAY_S, Identity, life_of
from littoral_node.link.channel import unreachable
from littoral_node.machine.conditions import Thresholds, is_hot, read
from littoral_node.machine.energy import counters
from littoral_node.machine.runtime_facts import RuntimeFacts
from littoral_node.runtimes import REGISTRY, facts, why_not
from littoral_node.runtimes.using import Using, settle_on

_LITTLE_BYTES = 50_000_000
_REACH_S = 5.0
_USUAL = ("onnxruntime", "ncnn")
"""Runtimes for every machine."""


class Verdict(StrEnum):
    OK = "ok"
    NONE = "none"  # missing, and not needed
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    verdict: Verdict
    detail: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.verdict:<5} {self.check:<12} {self.detail}" + (f"\n      {'':<12} -> {self.hint}" if self.hint else "")


def exit_code(findings: Sequence[Finding]) -> int:
    return 1 if any(finding.verdict is Verdict.BAD for finding in findings) else 0


async def examine(folder: NodeFolder, environment: Mapping[str, str], *, now: float) -> list[Finding]:
    """All findings, the most important first.

    Args:
        now: this machine's clock; seconds since 1970-01-01 UTC.
    """
    findings = [*_settings(folder, environment), *runtime_findings(), _disk(folder.root)]
    try:
        identity = folder.identity()
    except FleetError as error:
        return [Finding("enrolled", Verdict.BAD, error.message, error.hint), *findings]
    enrolled = Finding("enrolled", Verdict.OK, f"{identity.node_name} ({identity.node_id})")
    if damage := folder.look().damage:
        hint = "the agent restores it from its copy at its next start; the disk may be failing"
        enrolled = Finding("enrolled", Verdict.WARN, f"{enrolled.detail}; {damage}", hint)
    return [enrolled, *_certificate(identity, now), *findings, await _reach(identity)]


def _settings(folder: NodeFolder, environment: Mapping[str, str]) -> list[Finding]:
    """Checks the settings of the running agent, or those of an agent that would start here now."""
    try:
        agent, what = _agent(folder, environment)
        settings = settings_from(folder.root, what)
    except FleetError as error:
        return [Finding("settings", Verdict.BAD, error.message, error.hint)]
    settle_on(Using(settings.providers))  # look up the runtimes as the agent does
    budget = str(settings.node_budgets()[""])
    decides = {
        name: f"{origin(where, name, folder.root)} {text}" for where in ORDER for name, text in what.get(where, {}).items()
    }
    detail = "; ".join([f"budget {budget}" if budget else "no limits", *decides.values()])
    return [agent, *_problems(folder), Finding("settings", Verdict.OK, detail), *_conditions(settings)]


def _problems(folder: NodeFolder) -> list[Finding]:
    """The problems that the running agent reports: damaged files, a model that it cannot serve, an identity without a session."""
    body = (read_json(folder.serving) or {}) if folder.in_use() else {}
    if "http" not in body:
        return []
    connection = NodeAddress(body["http"], fingerprint=str(body.get("certificate_sha256", ""))).connection()
    connection.timeout = _REACH_S
    try:
        connection.request("GET", "/v2/health/live")
        health = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        hint = "is it busy or hanging? see its log"
        return [Finding("problem", Verdict.BAD, f"{body['http']}: the agent does not answer: {error}", hint)]
    finally:
        connection.close()
    return [
        Finding("problem", Verdict.WARN, str(words), "docs/identity.md: what the agent does about it")
        for words in health.get("problems", [])
    ]


def _agent(folder: NodeFolder, environment: Mapping[str, str]) -> tuple[Finding, GivenSettings]:
    """Whether an agent runs on this folder, and the sources of its settings. Raises FleetError where they cannot be read."""
    here = given_settings(folder.root, {}, environment)
    if not folder.in_use():
        return Finding("agent", Verdict.NONE, "none runs on this folder; flags of `run` are unknown here"), here
    body = read_json(folder.serving) or {}
    given: GivenSettings | None = body.get("settings")
    if given is None:
        detail = "one is starting on this folder, or is older than this command: its flags are unknown here"
        return Finding("agent", Verdict.WARN, detail, "run doctor again when it answers"), here
    where = " and ".join(f"{name} at {body[name]}" for name in ("http", "grpc") if name in body)
    if given.get(FILE) != here[FILE]:
        detail = f"runs, answers {where}; {folder.root / 'node.toml'} has changed since it started"
        return Finding("agent", Verdict.WARN, detail, "restart it to use the new settings"), given
    return Finding("agent", Verdict.OK, f"runs, answers {where}"), given


def _conditions(settings: NodeSettings) -> list[Finding]:
    """The machine's conditions, budgets for conditions that it never reports, and energy counters that are closed."""
    reading = read(settings.machine_root, settings.metered)
    hot = is_hot(reading, Thresholds(settings.battery_low, settings.hot_at))
    known = {
        "battery_low": None if reading.battery_percent is None else f"battery {reading.battery_percent:.0f} %",
        "on_battery": None if reading.on_mains is None else "on mains" if reading.on_mains else "on battery",
        "hot": None if hot is None else f"{'hot' if hot else 'not hot'}",
        "metered": None if reading.metered is None else "network is metered" if reading.metered else "network is not metered",
    }
    never = [name for name in settings.overlays() if known[name] is None and name != "metered"]  # the answer may come later
    present = ", ".join(text for text in known.values() if text) or "battery, heat and network are unknown"
    conditions = Finding("conditions", Verdict.OK, present)
    if never:
        which = ", ".join(name if name.startswith("on_") else f"on_{name}" for name in never)
        detail = f"{present}; {which}: this machine never reports that condition"
        conditions = Finding("conditions", Verdict.WARN, detail, "docs/fit.md: the sources of conditions")
    closed = [f"{counter.name}: {counter.why}" for counter in counters(settings.machine_root) if not counter.readable]
    return [
        conditions,
        *(Finding("energy", Verdict.WARN, detail, "energy is estimated; budgets ignore estimates") for detail in closed),
    ]


def _certificate(identity: Identity, now: float) -> list[Finding]:
    life = life_of(identity.certificate_pem)
    if now < life.begins_at:
        hint = "set this machine's clock (NTP): the cloud refuses TLS until then"
        return [Finding("clock", Verdict.BAD, f"it is {life.begins_at - now:.0f} s before the certificate begins", hint)]
    days = (life.ends_at - now) / DAY_S
    line = "enrol it again with a new join line, under the same id: littoral-node enroll JOIN_LINE"
    if life.over(now):
        hint = f"{line}; or set this machine's clock if it is wrong"
        return [Finding("certificate", Verdict.BAD, f"expired {-days:.1f} days ago", hint)]
    if life.soon(now):
        hint = f"the agent renews it while the cloud answers: do both run? Else {line}"
        return [Finding("certificate", Verdict.WARN, f"expires in {days:.1f} days", hint)]
    return [Finding("certificate", Verdict.OK, f"valid for {days:.0f} days")]


def runtime_findings() -> list[Finding]:
    """Each runtime of the registry: available, or why not; then the devices that it lacks."""
    have = facts()
    findings: list[Finding] = []
    for name in REGISTRY:
        if name in have:
            findings.append(Finding("runtime", Verdict.OK, _runtime_line(name, have[name])))
            findings += [
                Finding("provider", Verdict.NONE, f"{missing.name}: not available: {missing.reason}", missing.way_out)
                for missing in have[name].lacking
            ]
        elif (missing := why_not(name)) is not None:
            verdict = Verdict.WARN if name in _USUAL else Verdict.NONE
            findings.append(Finding("runtime", verdict, f"{name}: not available: {missing.reason}", missing.way_out))
    if not have:
        findings.append(Finding("runtime", Verdict.BAD, "none: no model can be served", "pip install 'littoral[edge]'"))
    return findings


def _runtime_line(name: str, found: RuntimeFacts) -> str:
    onnx = f", ONNX up to IR {found.highest_ir} and opset {found.highest_opset}" if found.highest_opset else ""
    return f"{name} {found.version}: available, runs on {', '.join(found.devices)}{onnx}"


def _disk(root: Path) -> Finding:
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    if not os.access(place, os.W_OK):
        return Finding("disk", Verdict.BAD, f"{place} cannot be written", "name a folder that this user may write")
    stat = os.statvfs(place)
    free = stat.f_bavail * stat.f_frsize
    if free < _LITTLE_BYTES:
        return Finding("disk", Verdict.WARN, f"{free / 1e6:.0f} MB free in {place}", "downloads stop when it is full")
    return Finding("disk", Verdict.OK, f"{free / 1e6:.0f} MB free in {place}")


async def _reach(identity: Identity) -> Finding:
    if why := await unreachable(identity, _REACH_S):
        hint = "the node still serves its verified models; does the cloud run, is it reachable, is its certificate for this name?"
        return Finding("cloud", Verdict.BAD, f"{identity.fleet_address}: {why}", hint)
    if why := await refused(identity):
        hint = "it serves its model on; where it was revoked or waits, an operator can let it in: littoral-cloud node accept NAME"
        return Finding("cloud", Verdict.BAD, f"{identity.fleet_address} answers, but does not accept this node: {why}", hint)
    return Finding("cloud", Verdict.OK, f"{identity.fleet_address} answers, and accepts this node")
