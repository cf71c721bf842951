"""littoral-cloud simulate: what a policy would do to a fleet, in virtual time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from littoral_cloud.cli.noun import noun
from littoral_cloud.terminal.output import Format, FormatOption

app = noun("Simulate a fleet: what a policy would do to it.")


@app.command(epilog="Example: littoral-cloud simulate scenario.toml --draws 20")
def simulate(
    scenario: Annotated[Path, typer.Argument(help="A TOML file: nodes, artifacts, rollouts. docs/simulate.md explains it.")],
    draws: Annotated[int, typer.Option(min=1, max=100_000, help="Simulate it so often, each time with the next seed.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the first draw. The same seed gives the same simulation.")] = 1,
    format: FormatOption = Format.TABLE,
) -> None:
    """Simulate rollouts in virtual time, with the coordinator's and the agent's own decisions.

    Prints nodes exposed to a bad model, time to reach the fleet, false stops and bytes. Writes nothing. Ctrl-C prints the draws
    that are finished.
    """
    from littoral_cloud.cli.simulated import print_draws, print_outcome
    from littoral_cloud.simulate.draws import summed_up
    from littoral_cloud.simulate.outcome import FleetOutcome
    from littoral_cloud.simulate.scenario import read_scenario
    from littoral_cloud.simulate.world import World
    from littoral_cloud.terminal.progress import error_console, progress_of

    asked = read_scenario(scenario)
    done: list[FleetOutcome] = []
    interrupted = False
    try:
        with progress_of(f"{asked.nodes:,} nodes", error_console(), time.monotonic) as progress:
            for draw in range(draws):
                done.append(World(asked, seed + draw, lambda share: progress((len(done) + share) / draws)).run())
                progress(len(done) / draws)
    except KeyboardInterrupt:
        interrupted = True
    if done:
        print_outcome(done[0], format) if draws == 1 else print_draws(summed_up(done), format)
    if interrupted:
        raise KeyboardInterrupt
