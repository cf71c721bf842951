"""What a node finds of a model in its probation: drawn, and judged by the agent's own rules (littoral_node.update.verdict).

Rules, in order:

1. Requests come as a Poisson process; each fails with the node's share and with the model's.
2. On its labelled examples the node compares the candidate with what it served. They are the same examples, so what is drawn
   is on how many exactly one of the two is right: a share `disagreement` of them.
3. The probation ends early at the failure that is one too many, as on a node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import numpy as np

from littoral_cloud.simulate.agent import (
    EARLY_FAILURES,
    Findings,
    ProbationFailed,
    ProbationPassed,
    Update,
    UpdateEvent,
    too_often,
    worse_on_examples,
)
from littoral_cloud.simulate.population import NodeTraits
from littoral_cloud.simulate.scenario import SimulatedArtifact

LEAST_DISAGREEMENT = 0.5
"""Where the scenario names none: so large a share of the errors of the better model is not an error of the other."""
MOST_FAILURES = 64
"""That are drawn one by one; the rest of a probation is drawn as a whole."""


@dataclass(frozen=True, slots=True)
class Compared:
    """On the same examples."""

    examples: int
    accuracy: float
    previous_accuracy: float | None


def accuracy_on(artifact: SimulatedArtifact, traits: NodeTraits) -> float:
    return min(1.0, max(0.0, artifact.on_nodes + traits.accuracy_shift))


def compared(
    artifact: SimulatedArtifact, before: SimulatedArtifact | None, traits: NodeTraits, rng: np.random.Generator
) -> Compared | None:
    """None where the node has no labelled examples."""
    examples = traits.group.labelled
    if not examples:
        return None
    new = accuracy_on(artifact, traits)
    if before is None:
        return Compared(examples, int(rng.binomial(examples, new)) / examples, None)
    old = accuracy_on(before, traits)
    worse, better = discordant(old, new, artifact.disagreement)
    shares = (max(0.0, old - worse), worse, better, max(0.0, 1 - old - better))
    both, lost, won, _ = (int(count) for count in rng.multinomial(examples, shares))
    return Compared(examples, (both + won) / examples, (both + lost) / examples)


def discordant(old: float, new: float, disagreement: float | None) -> tuple[float, float]:
    """The shares of inputs on which only the model before is right, and only the new one."""
    least = abs(old - new)
    share = least + LEAST_DISAGREEMENT * (1 - max(old, new)) if disagreement is None else max(least, disagreement)
    share = min(share, old + new, 2 - old - new)
    return max(0.0, (share + old - new) / 2), max(0.0, (share - old + new) / 2)


def failing_share(artifact: SimulatedArtifact, traits: NodeTraits) -> float:
    return 1 - (1 - traits.group.failing) * (1 - artifact.failure_rate)


async def probation(
    update: Update,
    artifact: SimulatedArtifact,
    before: SimulatedArtifact | None,
    traits: NodeTraits,
    rng: np.random.Generator,
    sleep: Callable[[float], Awaitable[None]],
) -> UpdateEvent:
    """As littoral_node.update.watch, of a drawn node. `before`: what it served; None: nothing."""
    found = compared(artifact, before, traits, rng)
    findings = Findings()
    if found is not None:
        findings = Findings(found.accuracy, found.previous_accuracy, found.examples)
    if (worse := worse_on_examples(findings, update.policy)) is not None:
        return ProbationFailed(update.generation, *worse, findings)
    usual = failing_share(before, traits) if before is not None else 0.0
    rate, share, left = traits.group.requests_per_s, failing_share(artifact, traits), update.policy.duration_s
    while left > 0 and rate * share > 0 and findings.failed_requests < MOST_FAILURES:
        gap = min(left, rng.exponential(1 / (rate * share)))
        failed = gap < left
        findings = _with(findings, int(rng.poisson(rate * (1 - share) * gap)), int(failed))
        left -= gap
        early = findings.failed_requests >= EARLY_FAILURES and too_often(findings, update.policy, usual, final=False)
        if early:
            await sleep(update.policy.duration_s - left)
            return ProbationFailed(update.generation, *early, findings)
    findings = _with(findings, int(rng.poisson(rate * (1 - share) * left)), int(rng.poisson(rate * share * left)))
    await sleep(update.policy.duration_s)
    if (wrong := too_often(findings, update.policy, usual, final=True)) is not None:
        return ProbationFailed(update.generation, *wrong, findings)
    return ProbationPassed(update.generation, findings)


def _with(findings: Findings, answered: int, failed: int) -> Findings:
    return replace(findings, requests=findings.requests + answered + failed, failed_requests=findings.failed_requests + failed)
