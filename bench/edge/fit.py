"""Measured fit: which student a node gets under five budgets, against an exhaustive check; and how long a low battery takes.

A coordinator and one node as processes of their own, nine candidates trained on a part of MNIST (a minute; kept in
build/bench-edge/fit). Five budgets are cut from what the node measured. For each the node comes back with it and the student that
it then serves is held against every candidate, by hand. Then the node's battery falls, in a made power supply: time runs from
when the file is written to the first answer by another student. A node keeps the student before on its disk, so it
finds the cheap one there. In the cold rounds the machine gets hot in between, for which a third student is
served: the cheap one has gone from the disk, and each fall downloads, decodes and tries it again.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import statistics
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench.edge.fleet import MODEL, PLACE, free_port
from bench.factory.kept import tell
from bench.factory.tables import Part
from bench.report import Cell, Figure, Table
from littoral.process.command import Command, run_to_end, script
from littoral_cloud.data.sources import load_mnist

RECIPE = Path(__file__).with_name("fit.toml")
EXAMPLES = 10_000
ROUNDS = 5
COLD = 2
LIMIT_S = 120.0
LOOK_S = 0.01
Row = Mapping[str, Any]
"""One candidate, as `littoral-cloud node explain --format json` lists it."""


def made(*, quick: bool = False) -> Part:
    began = time.perf_counter()
    place = (PLACE / "fit").resolve()
    table, figures = asyncio.run(_made(place, 1 if quick else ROUNDS))
    return Part(table, figures, time.perf_counter() - began)


async def _made(place: Path, rounds: int) -> tuple[Table, Mapping[str, Figure]]:
    await trained(place)
    shutil.rmtree(place / "run", ignore_errors=True)
    shutil.copytree(place / "cloud", place / "run/cloud")  # a fleet without nodes
    async with Fleet.running(place) as fleet:
        every = await fleet.rolled_out()
        rows: list[Sequence[Cell]] = []
        right = 0
        for name, budget, limits in budgets(every):
            await fleet.start_node("--budget", budget)
            best = exhaustive(every, limits)
            served = await fleet.until(best["name"])
            explained = next(row for row in await fleet.explained() if row["chosen"])
            right += served == best["name"] == explained["name"]
            inside = sum(fits(row, limits) for row in every)
            rows.append((name, budget or "no limits", inside, best["name"], served, explained["accuracy"]))
            tell(f"fit: {name}: {served}")
        times = await rechoices(fleet, every, rounds)
    note = (
        f"{len(times.falls)} falls, the first with a download, then the student is on the disk; "
        f"from the write of the battery's file, which the node looks at "
        f"once a second (a real machine's kernel says it at once), to the first answer by the other student; "
        f"load {_spread(times.loads)}"
    )
    cold = f"{len(times.cold)} falls, each with a download and its decoding at nice 5; load {_spread(times.loads)}"
    figures = {
        "rechoice_seconds": Figure(tuple(times.falls), "s", "lower", note),
        "rechoice_cold_seconds": Figure(tuple(times.cold), "s", "lower", cold),
        "rechoice_back_seconds": Figure(tuple(times.backs), "s", "lower", "mains again; of it 5 s to be sure"),
        "fit_choices_right": Figure.of(
            right / len(rows), "fraction", "higher", "of five budgets: what is served is the best inside"
        ),
    }
    table = Table(
        "Five budgets cut from what the node measured: the best of nine candidates by exhaustive check, and what the node served",
        ("budget", "limits", "inside", "best by check", "served", "accuracy"),
        rows,
        (
            f"A low battery: {statistics.median(times.falls):.2f} s to the cheaper student, median of {_told(times.falls)}; "
            f"where it has gone from the disk {_told(times.cold)}.",
            f"Mains again: {_told(times.backs)} s to the better one, 5 s of it a wait against loose plugs.",
        ),
    )
    return table, figures


def budgets(every: Sequence[Row]) -> list[tuple[str, str, Mapping[str, float]]]:
    """(name, as an operator writes it, limits by column); the first bounds nothing."""
    sizes, times = (sorted(row[column] for row in every) for column in ("artifact_bytes", "latency_ms"))
    smallest = min(every, key=lambda row: row["artifact_bytes"])
    typical = sorted(every, key=lambda row: row["accuracy"])[len(every) // 2]
    cuts: list[tuple[str, dict[str, float]]] = [
        ("none", {}),
        ("flash", {"artifact_bytes": sizes[len(every) // 2]}),
        ("quick", {"latency_ms": _up(times[len(every) // 2])}),
        ("tiny", {"artifact_bytes": sizes[1], "peak_rss_bytes": smallest["peak_rss_bytes"]}),
        (
            "even",
            {
                "artifact_bytes": typical["artifact_bytes"],
                "latency_ms": _up(typical["latency_ms"]),
                "worst_class": math.floor(typical["worst_class"] * 1e4) / 1e4,
            },
        ),
    ]
    written = {
        "artifact_bytes": "artifact<={}B",
        "latency_ms": "p95<={}ms",
        "peak_rss_bytes": "rss<={}B",
        "worst_class": "worst>={}",
    }
    return [(name, ",".join(written[column].format(value) for column, value in limits.items()), limits) for name, limits in cuts]


def _up(milliseconds: float) -> float:
    return math.ceil(milliseconds * 1e4) / 1e4


def fits(row: Row, limits: Mapping[str, float]) -> bool:
    """By hand: nothing of what the cloud chooses with is used."""
    return all(row[column] >= bound if column == "worst_class" else row[column] <= bound for column, bound in limits.items())


def exhaustive(every: Sequence[Row], limits: Mapping[str, float]) -> Row:
    """Of all that fit the most accurate; of equals the smaller, then the first by name."""
    return min((r for r in every if fits(r, limits)), key=lambda r: (-r["accuracy"], r["artifact_bytes"], r["name"]))


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of each change, and the load before each fall."""

    falls: list[float]
    backs: list[float]
    cold: list[float]
    loads: list[float]


async def rechoices(fleet: Fleet, every: Sequence[Row], rounds: int) -> Times:
    least, medium = min(row["artifact_bytes"] for row in every), sorted(row["artifact_bytes"] for row in every)[len(every) // 2]
    best, cheap, other = (
        str(exhaustive(every, limits)["name"]) for limits in ({}, {"artifact_bytes": least}, {"artifact_bytes": medium})
    )
    if len({best, cheap, other}) < 3:
        raise RuntimeError(f"the candidates are not unlike enough: {best}, {cheap}, {other}")
    await fleet.start_node("--on-battery-low", f"artifact<={least}B", "--on-hot", f"artifact<={medium}B", "--hot-at", "80")
    await fleet.until(best)
    times = Times([], [], [], [])

    async def fall(into: list[float]) -> None:
        times.loads.append(os.getloadavg()[0])
        into.append(await fleet.timed(lambda: fleet.power(15, mains=False), cheap))
        times.backs.append(await fleet.timed(lambda: fleet.power(15, mains=True), best))
        tell(f"fit: battery low {into[-1]:.2f} s, mains {times.backs[-1]:.2f} s, load {times.loads[-1]:.1f}")

    for _ in range(rounds):
        await fall(times.falls)
    for _ in range(min(COLD, rounds)):
        await fleet.timed(lambda: fleet.heat(90), other)
        await fleet.timed(lambda: fleet.heat(40), best)
        await fall(times.cold)
    return times


async def trained(place: Path) -> None:
    """The coordinator's data folder with the release; once."""
    if (place / "trained").exists():
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    mnist = load_mnist()
    np.savez(place / "images.npz", x_train=mnist.train_x[:EXAMPLES], y_train=mnist.train_y[:EXAMPLES], x_test=mnist.test_x,
             y_test=mnist.test_y)  # fmt: skip
    train = [script("littoral-cloud"), "train", "--data", str(place / "images.npz"), "--model", MODEL, "--recipe", str(RECIPE)]
    await run_to_end("train", train, place / "train.log", _environment(place / "cloud"))
    (place / "trained").touch()


def _environment(data: Path) -> dict[str, str]:
    return {"LITTORAL_DATA_DIR": str(data), "OMP_NUM_THREADS": "1"}


def _told(seconds: Sequence[float]) -> str:
    return ", ".join(f"{s:.2f}" for s in seconds)


def _spread(loads: Sequence[float]) -> str:
    return f"{min(loads):.1f} to {max(loads):.1f}"


@dataclass(slots=True)
class Fleet:
    """One coordinator and one node, whose machine's files are made."""

    place: Path
    http: int
    names: dict[str, str]  # of students, by manifest digest
    node: Command | None = None

    @property
    def name(self) -> str:
        return f"fit-{os.getpid()}"

    @property
    def environment(self) -> dict[str, str]:
        return _environment(self.place / "run/cloud")

    @classmethod
    @asynccontextmanager
    async def running(cls, place: Path) -> AsyncIterator[Fleet]:
        fleet = cls(place, free_port(), {})
        serve = [
            script("littoral-cloud"),
            "serve",
            "--enrolment-port",
            "0",
            "--fleet-port",
            "0",
            "--api-port",
            "0",
            "--format",
            "json",
        ]
        coordinator = await Command.start("coordinator", serve, place / "run/coordinator.log", fleet.environment)
        try:
            await coordinator.ready_line()
            line = await fleet.cloud("token", "create", "--name", "fit", "--ttl", "1h")
            enrol = [script("littoral-node"), "enroll", line, "--name", fleet.name, "--data", str(place / "run/node")]
            await run_to_end("enroll", enrol, place / "run/node.log")
            fleet.power(80, mains=True)
            fleet.heat(40)
            await fleet.start_node()
            yield fleet
        finally:
            if fleet.node is not None:
                await fleet.node.end()
            await coordinator.end()

    async def cloud(self, *words: str) -> str:
        return await run_to_end(words[0], [script("littoral-cloud"), *words], self.place / "run/commands.log", self.environment)

    async def start_node(self, *flags: str) -> None:
        """Ends the one that runs, and comes back with these settings."""
        if self.node is not None:
            await self.node.end()
        command = [script("littoral-node"), "run", "--data", str(self.place / "run/node"), "--http", f"127.0.0.1:{self.http}"]
        command += ["--machine-root", str(self.place / "run/machine"), *flags]
        self.node = await Command.start("node", command, self.place / "run/node.log", {"OMP_NUM_THREADS": "1"})
        await self.node.ready_line()

    async def rolled_out(self) -> list[Row]:
        """Every candidate as it was measured, once the release is out."""
        release = json.loads(await self.cloud("release", "list", "--format", "json"))[-1]
        started = json.loads(
            await self.cloud(
                "rollout", "start", release["release_id"], "--probation-s", "1", "--canary", self.name, "--format", "json"
            )
        )
        watched = await self.cloud("rollout", "watch", started["rollout"], "--format", "json")
        ended = json.loads(watched.splitlines()[-1])
        if ended["state"] != "SUCCEEDED":
            raise RuntimeError(f"the rollout ended {ended['state']}: {ended}")
        return await self.explained()

    async def explained(self) -> list[Row]:
        rows: list[Row] = json.loads(await self.cloud("node", "explain", self.name, "--format", "json"))[MODEL]
        self.names = {row["manifest_digest"]: row["name"] for row in rows}
        return [row for row in rows if row["latency_ms"] is not None]

    def power(self, percent: int, *, mains: bool) -> None:
        supplies = self.place / "run/machine/sys/class/power_supply"
        _written(supplies / "BAT0", type="Battery", capacity=percent, status="Charging" if mains else "Discharging")
        _written(supplies / "AC", type="Mains", online=int(mains))

    def heat(self, celsius: int) -> None:
        _written(self.place / "run/machine/sys/class/thermal/thermal_zone0", temp=celsius * 1_000)

    async def timed(self, change: Callable[[], None], wanted: str) -> float:
        """Seconds from the change to the first answer by the wanted student."""
        began = time.perf_counter()
        change()
        await self.until(wanted)
        return round(time.perf_counter() - began, 3)

    async def until(self, wanted: str) -> str:
        """Asks for inferences until it is this student that answers; gives its name."""
        body = {"inputs": [{"name": "input", "shape": [1, 1, 28, 28], "datatype": "UINT8", "data": [0] * 784}]}
        answered = "nobody"
        try:
            async with (
                asyncio.timeout(LIMIT_S),
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.http}", trust_env=False) as client,
            ):
                while answered != wanted:
                    answer = await client.post(f"/v2/models/{MODEL}/infer", json=body)
                    if answer.status_code == 200:
                        answered = self.names.get(answer.json()["model_version"], "a stranger")
                    if answered != wanted:
                        await asyncio.sleep(LOOK_S)
        except TimeoutError as error:
            raise RuntimeError(f"fit: waited for {wanted}, and {answered} answered") from error
        return answered


def _written(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        part = folder / f".{name}"
        part.write_text(f"{content}\n")
        part.replace(folder / name)
