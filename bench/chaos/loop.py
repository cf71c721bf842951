"""One part of a run: a fleet of its own, some faults one after another, and what was lost."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos.begun import Begun, lost
from bench.chaos.checks import Trail, all_counted, check
from bench.chaos.faults import FAULTS, drawn, kinds_for
from bench.chaos.stage import ChaosStage, chaos_stage
from littoral.errors import Untrusted
from littoral_cloud.federation.terms import RunTerms
from littoral_cloud.trust.audit_check import check_trail

END_S = 420.0
"""So long all that was begun may take to end."""
COUNT_S = 180.0
MOST_WAIT_S = 2.0
TERMS = RunTerms(rounds=2, local_epochs=1, min_nodes=1, round_timeout_s=120.0)


@dataclass
class Outcome:
    """Of one part: JSON values."""

    faults: int = 0
    survived: int = 0
    longest_s: float = 0.0
    longest_after: str = ""
    kinds: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    ended: dict[str, int] = field(default_factory=dict)
    audit_lines: int = 0


def tell(words: str) -> None:
    print(words, flush=True)


async def part(
    root: Path,
    *,
    seed: int,
    numbers: Sequence[int],
    nodes: int,
    coordinators: int,
    sentinels: bool = False,
    kinds: Sequence[str] = (),
    pace: float = 1.0,
) -> Outcome:
    """Plays the faults of these numbers; prints what it does.

    Args:
        kinds: of which the faults are drawn. Default: all that this configuration can have.
        pace: by which the times are multiplied between faults, and that they last.
    """
    began = time.monotonic()
    async with chaos_stage(root, nodes, coordinators, sentinels=sentinels, pace=pace) as stage:
        possible = kinds_for(sentinels=sentinels, disks=bool(stage.disks))
        able = [kind for kind in possible if kind in kinds] if kinds else possible
        tell(f"ready after {time.monotonic() - began:.0f} s; seed {seed}, faults {numbers[0]} to {numbers[-1]}")
        tell(f"left out here: {', '.join(sorted(set(kinds or FAULTS) - set(able))) or 'no kind'}")
        begun, trail, outcome, found = Begun(), Trail(), Outcome(), Counter[str]()
        async with stage.core() as core:
            await begun.keep_going(core, stage.releases, None)
            outcome.lost += (await check(stage, core, begun, trail)).lost  # a fleet that is whole, before the first fault
        for number in numbers:
            kind, rng = drawn(seed, number, able)
            async with stage.core() as core:
                terms = TERMS if kind == "worker" else None
                await begun.keep_going(core, stage.releases, terms)
            await asyncio.sleep(pace * rng.uniform(0.0, MOST_WAIT_S))
            said = await FAULTS[kind](stage, rng)
            async with stage.core() as core:
                checked = await check(stage, core, begun, trail)
            found[kind] += 1
            outcome.faults += 1
            outcome.survived += not checked.lost
            outcome.lost += [f"fault {number} ({said}): {words}" for words in checked.lost]
            if checked.seconds > outcome.longest_s:
                outcome.longest_s, outcome.longest_after = round(checked.seconds, 1), said
            after = f"whole after {checked.seconds:.1f} s" if not checked.lost else f"LOST {'; '.join(checked.lost)}"
            tell(f"{time.monotonic() - began:6.1f} s  fault {number}: {said}; {after}")
        outcome.kinds = dict(sorted(found.items()))
        await _at_the_end(stage, begun, trail, outcome)
    tell(f"{outcome.survived} of {outcome.faults} faults survived, {time.monotonic() - began:.0f} s in all")
    tell(f"ended: {outcome.ended}; audit trail: {outcome.audit_lines} lines; lost: {len(outcome.lost)}")
    for words in outcome.lost:
        print(f"  {words}", file=sys.stderr, flush=True)
    return outcome


async def _at_the_end(stage: ChaosStage, begun: Begun, trail: Trail, outcome: Outcome) -> None:
    ids = [*begun.rollouts, *begun.runs]
    async with stage.core() as core:
        ended = await begun.ended(core, ids, END_S)
        known = " ".join(outcome.lost)
        outcome.lost += [words for words in lost(ids, ended) if words not in known]
        outcome.lost += await all_counted(stage, core, COUNT_S)
        outcome.lost += (await check(stage, core, begun, trail)).lost
        try:
            outcome.audit_lines = (await check_trail(core.ledger, core.trust.signing_keys())).lines
        except Untrusted as error:
            outcome.lost.append(f"the audit trail is broken: {error}")
    outcome.ended = dict(sorted(Counter(ended.get(id, "never ended").split()[0] for id in ids).items()))
    for id in ids:
        if not ended.get(id, "SUCCEEDED").startswith("SUCCEEDED"):
            tell(f"  {id}: {ended[id]}")
