"""Whole rollouts of good and of bad releases to 10,000 simulated nodes: the coordinator's own controller, the agent's own update.

    python -m bench.simulated bad [--draws 200] [--minutes 15]     # about six seconds of CPU a draw
    python -m bench.simulated good [--draws 200] [--minutes 15]    # about 25 seconds a draw

bench.gates draws what the gates see, 200 times for each gate. This one has everything between a gate and a node as well:
sessions, reports, assignments, waves, the way back, the node's own probation. It is slower, so it draws less often, and checks
the other one: a bad release (5 points less accurate) is stopped with 2 % of the fleet exposed at most, a good one is not stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from bench.report import Figure, Table, printed, record
from littoral_cloud.cli.simulated import duration
from littoral_cloud.rollouts.state import RolloutPolicy
from littoral_cloud.simulate.draws import ObservedRate, summed_up
from littoral_cloud.simulate.outcome import FleetOutcome
from littoral_cloud.simulate.scenario import NodeGroup, PlannedRollout, Scenario, SimulatedArtifact
from littoral_cloud.simulate.world import World

NODES = 10_000
MOST_EXPOSED = 0.02
GATES = ("labelled", "probation=0.01")
WAVES = (10, "1%", "5%", "25%")
BEFORE = SimulatedArtifact(name="before", bytes=420_000, accuracy=0.96, serving=True)
RELEASES = {
    "bad": SimulatedArtifact(name="after", bytes=310_000, accuracy=0.96, field_accuracy=0.91, bad=True),
    "good": SimulatedArtifact(name="after", bytes=310_000, accuracy=0.96),
}
DRAWS = {"bad": 200, "good": 200}
PLAIN = NodeGroup(
    name="plain", nodes=1, hardware_class="gateway", requests_per_s=0.2, failing=0.003, accuracy_spread=0.005, drops_per_day=4
)


def scenario_of(release: str, nodes: int) -> Scenario:
    """A fifth of the nodes has 400 labelled examples of its own."""
    labelled = replace(PLAIN, name="labelled", nodes=nodes // 5, labelled=400)
    policy = RolloutPolicy(wave_sizes=WAVES, wave_s=900.0)
    return Scenario(
        group=(labelled, replace(PLAIN, nodes=nodes - nodes // 5)),
        artifact=(BEFORE, RELEASES[release]),
        rollout=(PlannedRollout(at_s=600.0, artifacts=("after",), policy=policy, gates=GATES),),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.simulated", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("release", choices=RELEASES)
    parser.add_argument("--draws", type=int, help="simulated rollouts, at most")
    parser.add_argument("--minutes", type=float, default=15.0, help="after this time no other draw starts")
    parser.add_argument("--nodes", type=int, default=NODES, help="nodes of the fleet")
    parser.add_argument("--quick", action="store_true", help="to see that it runs: writes nothing down")
    given = parser.parse_args()
    began, cpu = time.perf_counter(), time.process_time()
    draws = given.draws or DRAWS[given.release]
    outcomes = []
    for seed in range(1, draws + 1):
        outcomes.append(World(scenario_of(given.release, given.nodes), seed).run())
        print(f"{given.release}: {seed} of {draws}, {outcomes[-1].rollouts[0].state}", file=sys.stderr, flush=True)
        if time.perf_counter() - began > given.minutes * 60:
            break
    cpu_s = (time.process_time() - cpu) / len(outcomes)
    table, figures = found(given.release, outcomes, cpu_s)
    print(printed(table))
    if not given.quick:
        seconds, command = time.perf_counter() - began, f"make bench-simulated-{given.release}"
        record("simulated", command=command, seconds=seconds, figures=figures, table=(f"simulated-{given.release}", table))


def found(release: str, outcomes: list[FleetOutcome], cpu_s: float) -> tuple[Table, dict[str, Figure]]:
    """Args: cpu_s: of one draw."""
    draws = summed_up(outcomes)
    (rollout,) = draws.rollouts
    contained = ObservedRate.observed([each.rollouts[0].exposed_share <= MOST_EXPOSED for each in outcomes])
    rows = [
        [f"{float(q):.0%}", f"{rollout.exposed[q]:,.0f}", duration(rollout.lasted_s[q]), duration(rollout.most_s[q])]
        for q in rollout.exposed
    ]
    rate = contained if release == "bad" else rollout.false_stops
    words = "with 2 % of the fleet exposed at most" if release == "bad" else "falsely stopped"
    note = f"{draws.draws} draws; {rate.low:.1%} to {rate.high:.1%} (95 % interval)"
    table = Table(
        f"{release.capitalize()} releases in whole simulated rollouts to {draws.nodes:,} nodes, {draws.draws} draws",
        ("of the draws", "nodes exposed, at most", "the rollout lasted", "95 % of the fleet had it after"),
        rows,
        (f"{rate.count} of {rate.of} {words}.", f"Waves {', '.join(map(str, WAVES))}, gates {', '.join(GATES)}."),
    )
    share = rate.count / rate.of
    figures = {
        "bad": {"simulated_contained": Figure.of(share, "fraction", "higher", note)},
        "good": {
            "simulated_false_stops": Figure.of(share, "fraction", "lower", note),
            "simulate_10k_cpu_s": Figure.of(cpu_s, "s", "lower", f"one rollout to {draws.nodes:,} nodes"),
        },
    }
    return table, figures[release]


if __name__ == "__main__":
    main()
