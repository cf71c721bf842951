"""What must hold after each fault. Each check gives what is lost, in words; a wait that ends in vain is lost, too."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.chaos.begun import Begun, lost
from bench.chaos.stage import MODEL, ChaosNode, ChaosStage, corners
from littoral.errors import FleetError
from littoral_cloud.app import Core
from littoral_cloud.federation import run as runs
from littoral_cloud.fleet.ledger import AuditEntry, Ledger, until
from littoral_cloud.fleet.records import Desired, Presence, Reported, UpdateState, load
from littoral_cloud.fleet.telemetry import KIND as TELEMETRY
from littoral_cloud.fleet.telemetry import TelemetryTotals, telemetry_id
from littoral_cloud.rollouts import state as rollouts
from littoral_cloud.trust.audit_chain import GENESIS, verify
from littoral_node.client.node import NodeAddress, NodeClient

CONVERGE_S = 120.0
ASKED = 3  # requests to each node, each time
PAGE = 1000
SETTLED = {UpdateState.SUCCEEDED, UpdateState.FAILED, UpdateState.ROLLED_BACK, UpdateState.ABORTED}
ONCE = {
    "rollout.started": (),
    "run.created": (),
    "round.finished": ("round",),
    "update.succeeded": ("model", "generation"),
}
"""Lines of the audit trail that come once for a subject, and the details that count as part of it."""


@dataclass
class Trail:
    """The audit trail as far as it was read: each line once, so that a line that changed later is seen at the next full look."""

    last: str = "-"
    chain: str = GENESIS
    lines: int = 0
    seen: Counter[tuple[str, ...]] = field(default_factory=Counter)

    async def read_on(self, ledger: Ledger) -> list[str]:
        """What is broken, or was done twice, in the lines that are new."""
        found: list[str] = []
        while page := await ledger.audit(after=self.last, count=PAGE):
            if (broken := verify(page, self.chain)) is not None:
                found.append(f"the audit chain is broken at {broken.entry.id}")
            self.last, self.chain, self.lines = page[-1].id, page[-1].chain, self.lines + len(page)
            for key in filter(None, map(_once, page)):
                self.seen[key] += 1
                if self.seen[key] == 2:
                    found.append(f"done twice: {' '.join(key)}")
        return found


def _once(entry: AuditEntry) -> tuple[str, ...] | None:
    if entry.action not in ONCE:
        return None
    return (
        entry.action,
        entry.subject,
        *(f"{name}={entry.details[name]}" for name in ONCE[entry.action] if name in entry.details),
    )


@dataclass
class Checked:
    """What one look found. `seconds`: from its beginning until everything held, or was given up."""

    seconds: float
    lost: list[str]


async def check(stage: ChaosStage, core: Core, begun: Begun, trail: Trail) -> Checked:
    """Waits until the fleet is whole, and looks at everything."""
    began = time.monotonic()
    last = begun.rollouts[-1:]
    ended = await begun.ended(core, last, CONVERGE_S)
    found = lost(last, ended)
    found += await serving(stage, core)
    seconds = time.monotonic() - began
    found += await missing(stage, core, begun)
    found += await counted(stage, core)
    found += await trail.read_on(core.ledger)
    return Checked(seconds, found)


async def serving(stage: ChaosStage, core: Core) -> list[str]:
    """Waits until each node is connected and has done what is wanted of it; then asks each one."""
    waiting: list[str] = []

    async def look() -> Mapping[str, str] | None:
        waiting.clear()
        states = {node.id: await _state(core.ledger, node.id) for node in stage.nodes.values()}
        waiting.extend(words for digest, words in states.values() if not digest)
        return None if waiting else {id: digest for id, (digest, _) in states.items()}

    try:
        kinds = ("presence", "reported", "desired")
        digests = await until(core.ledger, kinds, look, seconds=CONVERGE_S, what="every node to serve")
    except FleetError:
        return [f"no convergence: {words}" for words in waiting]
    said = [await asyncio.to_thread(_asked, node, digests[node.id]) for node in stage.nodes.values()]
    return [words for words in said if words]


async def _state(ledger: Ledger, node_id: str) -> tuple[str, str]:
    """(the manifest that it must serve; "": it is not there yet, why)."""
    docs = await ledger.get_many([("presence", node_id), ("reported", node_id), ("desired", node_id)])
    if docs[0] is None or docs[1] is None or docs[2] is None:
        return "", f"{node_id} has not come"
    presence, reported, desired = load(Presence, docs[0]), load(Reported, docs[1]), load(Desired, docs[2])
    wanted, model = desired.models.get(MODEL), reported.models.get(MODEL)
    if not presence.connected or wanted is None or model is None:
        return "", f"{node_id} is not connected, or has no model"
    if model.desired_generation != wanted.generation or model.state not in SETTLED:
        return "", f"{node_id} is {model.state} at {model.desired_generation} of {wanted.generation}"
    if model.state is UpdateState.SUCCEEDED and model.serving != wanted.manifest_digest:
        return "", f"{node_id} serves {model.serving[:16]}, wanted is {wanted.manifest_digest[:16]}"
    return model.serving, ""


def _asked(node: ChaosNode, digest: str) -> str:
    """Asks a node, and says what is wrong with its answers; "": nothing."""
    client = NodeClient(NodeAddress(node.address), MODEL)
    x, y = corners(7, ASKED)
    try:
        info = client.model_info()
        if info.version != digest:
            return f"{node.name} serves {info.version[:16]}, the ledger says {digest[:16]}"
        for image, label in zip(x, y, strict=True):
            answer = client.ask(info, image.reshape(1, *info.shape))
            node.asked, node.sure = node.asked + 1, node.sure + 1
            if int(answer["label"].ravel()[0]) != int(label):
                return f"{node.name} answers {answer['label'].ravel()[0]}, right is {label}"
    except FleetError as error:
        return f"{node.name} does not answer: {error}"
    finally:
        client.close()
    return ""


async def missing(stage: ChaosStage, core: Core, begun: Begun) -> list[str]:
    """What was acknowledged, and is not there any more."""
    wanted = [("node", node.id) for node in stage.nodes.values()]
    wanted += [("release", release.release_id) for release in stage.releases]
    wanted += [(rollouts.KIND, id) for id in begun.rollouts] + [(runs.KIND, id) for id in begun.runs]
    docs = await core.ledger.get_many(wanted)
    return [f"gone: {kind} {id}" for (kind, id), doc in zip(wanted, docs, strict=True) if doc is None]


async def totals(stage: ChaosStage, core: Core) -> dict[str, int]:
    nodes = list(stage.nodes.values())
    docs = await core.ledger.get_many([(TELEMETRY, telemetry_id(node.id, MODEL)) for node in nodes])
    return {node.name: load(TelemetryTotals, doc).totals.requests if doc else 0 for node, doc in zip(nodes, docs, strict=True)}


async def counted(stage: ChaosStage, core: Core) -> list[str]:
    """No request is counted twice, and none that was counted is lost."""
    found = []
    for name, total in (await totals(stage, core)).items():
        node = stage.nodes[name]
        if not node.counted <= total <= node.asked:
            found.append(f"{name}: {total} requests counted, {node.counted} before, {node.asked} were asked")
        node.counted = total
    return found


async def all_counted(stage: ChaosStage, core: Core, seconds: float) -> list[str]:
    """Waits until each request is counted that no kill -9 of its node took along: such a write is not announced."""
    deadline = time.monotonic() + seconds
    while True:
        found = await totals(stage, core)
        short = [
            f"{n.name}: {found[n.name]} requests counted of {n.sure}" for n in stage.nodes.values() if found[n.name] < n.sure
        ]
        if not short or time.monotonic() > deadline:
            return short
        await asyncio.sleep(0.5)
