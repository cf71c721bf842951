"""What a node finds of a model in its probation: drawn, and judged by the agent's own rules (littoral_node.update.verdict).

Rules, in order:

1. Requests come as a Poisson process; each fails with the node's share and with the model's.
2. On its labelled examples the node compares the candidate with what it served. They are the same examples, so what is drawn
   is on how many exactly one of the two is right: a share `disagreement` of them.
3. The probation ends early at the failure that is one too many, as on a node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral_cloud.fleet.evidence import LatencyBins, NodeEvidence
from littoral_cloud.simulate.agent import (
    EARLY_FAILURES,
    EVIDENCE_EVERY_S,
    GROWN,
    Before,
    Findings,
    ProbationFailed,
    ProbationPassed,
    Update,
    UpdateEvent,
    too_often,
    worse_on_examples,
    worth_a_report,
)
from littoral_cloud.simulate.population import NodeTraits
from littoral_cloud.simulate.scenario import SimulatedArtifact

LEAST_DISAGREEMENT = 0.5
"""Where the scenario names none: so large a share of the errors of the better model is not an error of the other."""
LATENCY_SIGMA = 0.5
"""Of the logarithm of a request's time."""
MOST_FAILURES = 64
"""That are drawn one by one; the rest of a probation is drawn as a whole."""


@dataclass(frozen=True, slots=True)
class Compared:
    """On the same examples."""

    examples: int
    accuracy: float
    previous_accuracy: float | None
    worse: int = 0  # only the new one is wrong
    better: int = 0  # only the one before is wrong


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
    return Compared(examples, (both + won) / examples, (both + lost) / examples, lost, won)


def discordant(old: float, new: float, disagreement: float | None) -> tuple[float, float]:
    """The shares of inputs on which only the model before is right, and only the new one."""
    least = abs(old - new)
    share = least + LEAST_DISAGREEMENT * (1 - max(old, new)) if disagreement is None else max(least, disagreement)
    share = min(share, old + new, 2 - old - new)
    return max(0.0, (share + old - new) / 2), max(0.0, (share - old + new) / 2)


def failing_share(artifact: SimulatedArtifact, traits: NodeTraits) -> float:
    return 1 - (1 - traits.group.failing) * (1 - artifact.failure_rate)


@cache
def _bins(p95_ms: float) -> Sequence[float]:
    """The shares of a lognormal latency with this 95th percentile over the bins of telemetry."""
    median = p95_ms / math.exp(1.6449 * LATENCY_SIGMA)
    edges = [math.log(bound / median) / LATENCY_SIGMA for bound in LATENCY_BOUNDS_MS]
    below = [0.5 * (1 + math.erf(edge / math.sqrt(2))) for edge in edges]
    return tuple(np.diff([0.0, *below, 1.0]).tolist())


@dataclass(frozen=True, slots=True)
class _Moment:
    """Of a probation: the requests that had come after `seconds`, and the failed ones among them."""

    seconds: float
    requests: int
    failed: int


class SimulatedTrial:
    """One candidate on one node: what it shows there, drawn as time passes.

    Args:
        before: what the node served; None: nothing.
        served_s: for how long that has served since the agent's start.
    """

    def __init__(
        self,
        update: Update,
        artifact: SimulatedArtifact,
        before: SimulatedArtifact | None,
        traits: NodeTraits,
        rng: np.random.Generator,
        served_s: float,
    ) -> None:
        self._update, self._artifact, self._before, self._traits, self._rng = update, artifact, before, traits, rng
        self._share = failing_share(artifact, traits)
        self._reported = 0
        self._latency = np.zeros(len(LATENCY_BOUNDS_MS) + 1, np.int64)
        self._course: list[_Moment] = [_Moment(0.0, 0, 0)]
        self._alike = (
            1.0 - sum(discordant(accuracy_on(before, traits), accuracy_on(artifact, traits), artifact.disagreement))
            if before
            else 1.0
        )
        self.evidence = NodeEvidence()
        if before is not None:
            old, new = accuracy_on(before, traits), accuracy_on(artifact, traits)
            self._alike = 1.0 - sum(discordant(old, new, artifact.disagreement))
            came = int(rng.poisson(traits.group.requests_per_s * served_s))
            failed = int(rng.binomial(came, failing_share(before, traits)))
            times = _trimmed(rng.multinomial(came - failed, _bins(before.p95_ms)))
            self.evidence = NodeEvidence(requests_before=came, failed_before=failed, latency_before=times)

    @property
    def size(self) -> int:
        return self.evidence.requests + self.evidence.compared + self.evidence.shadowed

    def told(self) -> NodeEvidence:
        """For a report."""
        self._reported = self.size
        return self.evidence

    def worth_telling(self, answers_s: float | None) -> bool:
        """See littoral_node.update.growing."""
        return worth_a_report(self.size, self._reported, answers_s, self._update.policy.evidence_s)

    def shadow(self, seconds: float) -> None:
        """The candidate was asked beside the served model for this time."""
        asked = min(self._update.policy.compare, int(self._rng.poisson(self._traits.group.requests_per_s * seconds)))
        failed = int(self._rng.binomial(asked, self._artifact.failure_rate))
        agreed = int(self._rng.binomial(asked - failed, self._alike))
        self.evidence = replace(self.evidence, shadowed=asked, shadow_agreed=agreed, shadow_failed=failed)

    def watch(self) -> tuple[float, UpdateEvent]:
        """How the probation ends, as littoral_node.update.watch judges it, and after how many seconds."""
        update, rng = self._update, self._rng
        findings = Findings()
        if (found := compared(self._artifact, self._before, self._traits, rng)) is not None:
            findings = Findings(found.accuracy, found.previous_accuracy, found.examples)
            if found.previous_accuracy is not None:
                self.evidence = replace(self.evidence, examples=found.examples, worse=found.worse, better=found.better)
        if (worse := worse_on_examples(findings, update.policy)) is not None:
            return 0.0, ProbationFailed(update.generation, *worse, findings)
        before = Before(self.evidence.requests_before, self.evidence.failed_before)
        rate, share, whole = self._traits.group.requests_per_s, self._share, update.policy.duration_s
        at = 0.0
        while at < whole and rate * share > 0 and findings.failed_requests < MOST_FAILURES:
            until = at + rng.exponential(1 / (rate * share))
            failed = until < whole
            until = min(until, whole)
            findings = self._passes(findings, until, int(rng.poisson(rate * (1 - share) * (until - at))), int(failed))
            at = until
            if findings.failed_requests >= EARLY_FAILURES and (wrong := too_often(findings, update.policy, before, final=False)):
                return at, ProbationFailed(update.generation, *wrong, findings)
        left = whole - at
        if left > 0:
            answered, failures = int(rng.poisson(rate * (1 - share) * left)), int(rng.poisson(rate * share * left))
            findings = self._passes(findings, whole, answered, failures)
        if (wrong := too_often(findings, update.policy, before, final=True)) is not None:
            return whole, ProbationFailed(update.generation, *wrong, findings)
        return whole, ProbationPassed(update.generation, findings)

    def _passes(self, findings: Findings, until: float, answered: int, failed: int) -> Findings:
        requests, failures = findings.requests + answered + failed, findings.failed_requests + failed
        self._course.append(_Moment(until, requests, failures))
        return replace(findings, requests=requests, failed_requests=failures)

    def at(self, seconds: float) -> None:
        """The probation has lasted for `seconds`."""
        later = next((number for number, each in enumerate(self._course) if each.seconds > seconds), len(self._course))
        a, b = self._course[later - 1], self._course[min(later, len(self._course) - 1)]
        share = (seconds - a.seconds) / (b.seconds - a.seconds) if b.seconds > a.seconds else 0.0
        failed = a.failed
        requests = max(failed, a.requests + int((b.requests - a.requests) * share))
        asked = min(self._update.policy.compare, requests)
        new = max(0, asked - self.evidence.compared)
        agreed = self.evidence.agreed + int(self._rng.binomial(new, self._alike))
        self.evidence = replace(self.evidence, requests=requests, failed=failed, compared=asked, agreed=agreed)

    def next_report_s(self, since: float, until: float) -> float:
        """When, in a probation that has lasted for `since` and ends at `until`, the evidence will be worth a report; `until`: not
        before. Takes what is shown until then into the evidence."""
        at = since
        while self._update.policy.evidence_s > 0 and (at := at + EVIDENCE_EVERY_S) < until:
            self.at(at)
            if self.worth_telling(at):
                return at
        return until

    def serves(self, seconds: float) -> None:
        """It has answered in the agent's own process for `seconds` more."""
        came = int(self._rng.poisson(self._traits.group.requests_per_s * seconds))
        failed = int(self._rng.binomial(came, self._share))
        self._latency += self._rng.multinomial(came - failed, _bins(self._artifact.p95_ms))
        self.evidence = replace(
            self.evidence,
            requests=self.evidence.requests + came,
            failed=self.evidence.failed + failed,
            latency=_trimmed(self._latency),
        )

    def pause_s(self) -> float:
        """About how long it serves until its evidence has grown enough for a report; whole looks."""
        rate = self._traits.group.requests_per_s
        needed = max(1.0, self._reported * GROWN - self.size + 1) / rate if rate > 0 else math.inf
        return math.ceil(needed / EVIDENCE_EVERY_S) * EVIDENCE_EVERY_S if math.isfinite(needed) else math.inf


def _trimmed(counts: npt.NDArray[np.int64]) -> LatencyBins:
    filled = np.flatnonzero(counts)
    if not len(filled):
        return LatencyBins()
    return LatencyBins(first=int(filled[0]), counts=tuple(int(each) for each in counts[filled[0] : filled[-1] + 1]))
