"""What the gates of rollouts are worth: simulated rollouts of good and of bad releases, judged by the gates themselves.

    python -m bench.gates [--draws 200] [--nodes 10000] [--quick]

Each row names one gate and a bad release that it is for. A fleet is drawn anew for each draw: requests a second by node are
lognormal (median 0.2, sigma 1), and the candidate's loss differs from node to node (sigma half a point). Where the gate reads
labelled examples, a fifth of the nodes has 200 to 1,000 of them; else no node has any, so that its own probation does not see
a loss. The waves are the rollout's own sizes; nodes with labelled examples come first, as in a plan. A node reports as an
agent does: every 20 s at most, when its evidence has grown by half (every 300 s once 1,000 nodes have the candidate, to save
time). The gate and the nodes' own probation are asked at every report. A rollout is stopped when one of them fails, or when a
wave has lasted for 15 minutes beyond its probation and the gate still needs more.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bench.report import Cell, Figure, Table, printed, record
from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral_cloud.rollouts.gates import GATES, Evidence, GateAnswer, judge
from littoral_cloud.rollouts.gates.evidence import BINS, Paired, ShareCount
from littoral_cloud.rollouts.intents import FALSE_STOPS
from littoral_cloud.rollouts.state import RolloutPolicy, WaveSize
from littoral_cloud.rollouts.waves import sizes_of
from littoral_node.update.events import Findings
from littoral_node.update.state import ProbationPolicy
from littoral_node.update.verdict import worse_on_examples

NODES, DRAWS = 10_000, 200
LOOK_S, LATER_LOOK_S, GROWN = 20.0, 300.0, 1.5
PROBATION_S, WAVE_S = 600.0, 900.0
CLASSES = 10
USUAL_LOSS = 0.015  # of both models: examples that only this one gets wrong
USUAL_FAILURES = 0.003
BEFORE_S = 3_600.0  # the model before has served for so long when the wave starts
COMPARED = 2_000  # on one node, at most
MAX_DROP = 0.05  # of the node's own probation
ACCURACY_BEFORE = 0.95
MOST_EXPOSED = 0.02
Rng = np.random.Generator
Counts = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SimulatedRelease:
    """What is worse than before: fractions, and a factor."""

    words: str
    loss: float = 0.0  # of accuracy, on every class
    class_loss: float = 0.0  # on one class of ten
    failures: float = 0.0
    slower: float = 1.0


@dataclass(frozen=True, slots=True)
class GateTrial:
    gate: str
    bad: SimulatedRelease
    waves: tuple[WaveSize, ...] = (50, "1%", "5%", "25%")
    probation: float = 0.01  # limit of the gate "probation"
    named: bool = True  # False: the gate can only stop


FIVE_POINTS = SimulatedRelease("5 points less accurate", loss=0.05)
GOOD = SimulatedRelease("as good as before")
TRIALS = (
    GateTrial("labelled", FIVE_POINTS, (10, "1%", "5%", "25%")),
    GateTrial("agreement", FIVE_POINTS),
    GateTrial("shadow", FIVE_POINTS),
    GateTrial(
        "worst-class", SimulatedRelease("5 points less accurate, all in one class", class_loss=0.5), (10, "1%", "5%", "25%")
    ),
    GateTrial("failure-rate", SimulatedRelease("5 points more failed requests", failures=0.05)),
    GateTrial("p95", SimulatedRelease("twice the latency", slower=2.0)),
    GateTrial("labelled", FIVE_POINTS, RolloutPolicy().wave_sizes, 0.0, named=False),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    stopped_by: tuple[str, ...]  # gates that failed, or "undecided"; empty: it reached every node
    exposed: int
    minutes: float  # to the stop, or to the end


@dataclass(slots=True)
class Nodes:
    """Of one draw, in the order of the waves. Each array: (nodes,)."""

    rate: Counts
    examples: Counts
    loss: Counts
    failures: Counts  # the share that failed before
    before: npt.NDArray[np.int64]  # requests to the model before
    before_failed: npt.NDArray[np.int64]

    @classmethod
    def drawn(cls, count: int, release: SimulatedRelease, rng: Rng, *, labelled: bool) -> Nodes:
        examples = np.where(rng.random(count) < 0.2 * labelled, rng.integers(200, 1_001, count), 0).astype(float)
        examples = examples[np.argsort(examples == 0, kind="stable")]
        failures = np.minimum(0.5, rng.lognormal(math.log(USUAL_FAILURES), 0.5, count))
        rate = rng.lognormal(math.log(0.2), 1.0, count)
        before = rng.poisson(rate * BEFORE_S)
        return cls(rate, examples, rng.normal(release.loss, 0.005, count), failures, before, rng.binomial(before, failures))


class Live:
    """Requests to the candidate: what came, and what the nodes have reported of it."""

    def __init__(self, nodes: Nodes, release: SimulatedRelease, rng: Rng) -> None:
        self._nodes, self._release, self._rng = nodes, release, rng
        self._came = np.zeros((4, len(nodes.rate)))  # requests, failed ones, compared, agreed
        self._reported = self._came.copy()
        self._latency, self._latency_before = np.zeros(BINS), np.zeros(BINS)
        self._have = 0

    def interval(self, have: int, seconds: float) -> None:
        """One more, with this many nodes."""
        nodes, release, rng, came = self._nodes, self._release, self._rng, self._came[:, :have]
        if have > self._have:
            self._latency_before += histogram(nodes.before[self._have : have].sum(), 1.0, rng)
            self._have = have
        new = rng.poisson(nodes.rate[:have] * seconds)
        compared = np.minimum(new, COMPARED - came[2]).astype(int)
        alike = np.clip(1 - 2 * USUAL_LOSS - nodes.loss[:have] - release.class_loss / CLASSES, 0.0, 1.0)
        came[0] += new
        came[1] += rng.binomial(new, np.minimum(1.0, nodes.failures[:have] + release.failures))
        came[2] += compared
        came[3] += rng.binomial(compared, alike)
        reported = self._reported[:, :have]
        grown = came[0] > reported[0] * GROWN
        self._latency += histogram((came[0] - reported[0])[grown].sum(), release.slower, rng)
        reported[:, grown] = came[:, grown]

    def evidence(self, of: Evidence) -> Evidence:
        """With what the nodes have reported."""
        requests, failed, compared, agreed = (float(each) for each in self._reported.sum(axis=1))
        before, before_failed = self._nodes.before[: self._have], self._nodes.before_failed[: self._have]
        return replace(
            of,
            requests=ShareCount(count=requests, hits=failed),
            requests_before=ShareCount(count=float(before.sum()), hits=float(before_failed.sum())),
            latency=tuple(self._latency.tolist()),
            latency_before=tuple(self._latency_before.tolist()),
            compared=ShareCount(count=compared, hits=agreed),
            shadowed=ShareCount(count=compared, hits=agreed),
        )


def simulated(trial: GateTrial, release: SimulatedRelease, count: int, rng: Rng) -> Outcome:
    """One rollout."""
    of_labels = trial.gate in ("labelled", "worst-class")
    nodes, limits = (
        Nodes.drawn(count, release, rng, labelled=of_labels),
        {"probation": trial.probation, trial.gate: GATES[trial.gate].limit},
    )
    live, pairs, failed, seconds, have = Live(nodes, release, rng), np.zeros((3, CLASSES)), 0, 0.0, 0
    for size in sizes(trial, count):
        found, ended_badly = labelled(nodes, slice(have, have + size), release, rng)
        pairs, failed, have = pairs + found, failed + ended_badly, have + size
        since = 0.0
        while True:
            look_s = LOOK_S if have <= 1_000 else LATER_LOOK_S
            since, seconds = since + look_s, seconds + look_s
            if not of_labels:
                live.interval(have, look_s)
            of = Evidence(passed=have - failed, failed=failed, labelled=paired(pairs.sum(axis=1)), classes=by_class(pairs))
            verdicts = judge(limits, live.evidence(of))
            if failing := [name for name, verdict in verdicts.items() if verdict.answer is GateAnswer.FAIL]:
                return Outcome(tuple(failing), have, seconds / 60)
            if since >= PROBATION_S and (not trial.named or verdicts[trial.gate].answer is GateAnswer.PASS):
                break
            if since >= PROBATION_S + WAVE_S:
                return Outcome(("undecided",), have, seconds / 60)
    return Outcome((), have, seconds / 60)


def sizes(trial: GateTrial, count: int) -> list[int]:
    policy = RolloutPolicy(wave_sizes=trial.waves)
    found = list(sizes_of(policy, count))
    while (left := count - sum(found)) > 0:
        found.append(min(left, policy.most_nodes))
    return found


def labelled(nodes: Nodes, new: slice, release: SimulatedRelease, rng: Rng) -> tuple[Counts, int]:
    """(examples, worse, better) by class, (3, CLASSES); and how many nodes end their own probation for it."""
    examples = rng.multinomial(nodes.examples[new].astype(int), np.full(CLASSES, 1 / CLASSES))
    loss = np.repeat(nodes.loss[new][:, None], CLASSES, axis=1)
    loss[:, 0] += release.class_loss
    worse = rng.binomial(examples, np.clip(USUAL_LOSS + loss, 0.0, 1.0))
    better = rng.binomial(examples - worse, USUAL_LOSS)
    counts = examples.sum(axis=1), worse.sum(axis=1), better.sum(axis=1)
    policy = ProbationPolicy(max_accuracy_drop=MAX_DROP, error=FALSE_STOPS / len(nodes.rate))
    failed = sum(
        _fails(int(of), int(lost), int(won), policy) for of, lost, won in zip(*counts, strict=True) if lost - won > MAX_DROP * of
    )
    return np.stack([examples.sum(axis=0), worse.sum(axis=0), better.sum(axis=0)]).astype(float), failed


def _fails(examples: int, worse: int, better: int, policy: ProbationPolicy) -> bool:
    """Whether the node's own probation ends badly for its labelled examples."""
    before = round(examples * ACCURACY_BEFORE)
    found = Findings(accuracy=(before - worse + better) / examples, previous_accuracy=before / examples, examples=examples)
    return worse_on_examples(found, policy) is not None


def histogram(requests: float, scale: float, rng: Rng) -> Counts:
    """Of lognormal times (median 2 ms, sigma 0.5) over the bins of telemetry, (BINS,)."""
    edges = np.log(np.asarray(LATENCY_BOUNDS_MS) / (2.0 * scale)) / 0.5
    below = [0.5 * (1 + math.erf(edge / math.sqrt(2))) for edge in edges]
    return rng.multinomial(int(requests), np.diff([0.0, *below, 1.0])).astype(float)


def paired(row: Counts) -> Paired:
    return Paired(count=float(row[0]), worse=float(row[1]), better=float(row[2]))


def by_class(pairs: Counts) -> tuple[Paired, ...]:
    return tuple(paired(row) for row in pairs.T)


def row_of(trial: GateTrial, nodes: int, draws: int, seed: int) -> tuple[list[Cell], dict[str, float]]:
    """A row of the table, and its figures."""
    bad = [simulated(trial, trial.bad, nodes, np.random.default_rng((seed, 1, draw))) for draw in range(draws)]
    good = [simulated(trial, GOOD, nodes, np.random.default_rng((seed, 0, draw))) for draw in range(draws)]
    exposed = np.asarray([each.exposed for each in bad]) / nodes
    found = {
        "contained": float(np.mean(exposed <= MOST_EXPOSED)),
        "false_stops": float(np.mean([bool(each.stopped_by) for each in good])),
    }
    waves = ", ".join(map(str, trial.waves))
    minutes = round(float(np.median([each.minutes for each in bad])), 1)
    worst = float(np.quantile(exposed, 0.99))
    name = trial.gate if trial.named else f"{trial.gate}, not named"
    stopped = f"{sum(bool(each.stopped_by) for each in bad) / draws:.1%}"
    by_gate = f"{sum(trial.gate in each.stopped_by for each in bad) / draws:.1%}"
    cells: list[Cell] = [
        name,
        trial.bad.words,
        waves,
        f"{trial.probation:g}",
        stopped,
        by_gate,
        f"{found['contained']:.1%}",
        f"{worst:.2%}",
        minutes,
        f"{found['false_stops']:.1%}",
    ]
    return cells, found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gates", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=DRAWS, help="simulated rollouts of each release")
    parser.add_argument("--nodes", type=int, default=NODES, help="nodes of the fleet")
    parser.add_argument("--quick", action="store_true", help="to see that it runs: five draws; writes nothing down")
    given = parser.parse_args()
    began, draws = time.perf_counter(), 5 if given.quick else given.draws
    rows: list[list[Cell]] = []
    found: list[dict[str, float]] = []
    for seed, trial in enumerate(TRIALS):
        row, shares = row_of(trial, given.nodes, draws, seed)
        rows.append(row)
        found.append(shares)
    table = Table(
        f"Simulated rollouts to {given.nodes:,} nodes, {draws} draws of each release",
        ("gate", "the bad release is", "waves", "probation", "stopped", "by the gate itself", "with 2 % exposed at most",
         "exposed, 99th percentile", "minutes to the stop, median", "good ones stopped"),
        rows,
        ("The last row is a default gate: nobody named it, so it stops a rollout, and does not make it wait.",),
    )  # fmt: skip
    named = [shares for trial, shares in zip(TRIALS, found, strict=True) if trial.named]
    figures = {
        "bad_contained": Figure.of(
            min(each["contained"] for each in named), "fraction", "higher", "of draws, of the worst gate that was named"
        ),
        "good_stopped": Figure.of(
            max(each["false_stops"] for each in named), "fraction", "lower", "of draws, of the worst gate that was named"
        ),
    }
    print(printed(table))
    for figure, value in figures.items():
        print(f"{figure}: {value.value:g}")
    print(f"{time.perf_counter() - began:.0f} s")
    if not given.quick:
        record("gates", command="make bench-gates", seconds=time.perf_counter() - began, figures=figures, table=("gates", table))


if __name__ == "__main__":
    main()
