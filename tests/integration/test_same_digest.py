"""The same parents, recipe, data, seed, threads and libraries give the same digest; another one of them another."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.digest import digest_of
from littoral.manifest import Manifest
from tests.kit import maker

NAMES = {"tiny-onnx-int8": "onnxruntime", "tiny-ncnn": "ncnn"}
pytestmark = pytest.mark.timeout(600)  # a hang: another process imports torch
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
Made = dict[str, dict[str, Manifest]]


async def made_elsewhere(out: Path, *changes: str) -> None:
    """In a process of its own, whose sets and dicts have another order than those here."""
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.kit.maker", str(out), *changes),
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()


def read(out: Path, *changes: str) -> Made:
    """By change and name."""
    return {c: {p.stem: Manifest.decode(p.read_bytes()) for p in (out / c).iterdir()} for c in changes}


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Made]:
    folder, changed = tmp_path_factory.mktemp("made"), ("none", "seed=3", "threads=2", "ncnn=99.1")
    asyncio.run(made_elsewhere(folder / "b", *changed))
    maker.main(folder / "a", ["none"])  # here: to import torch once more takes longer than the rest
    return read(folder / "a", "none"), read(folder / "b", *changed)


def digests(made: dict[str, Manifest]) -> dict[str, str]:
    return {name: digest_of(manifest.seal(KEY)) for name, manifest in made.items()}


@pytest.mark.slow
def test_two_processes_make_the_same_manifests_byte_for_byte(twice: tuple[Made, Made]) -> None:
    first, second = twice[0]["none"], twice[1]["none"]
    assert {name: manifest.runtime for name, manifest in first.items()} == NAMES
    for name, manifest in first.items():
        assert manifest.files == second[name].files
        assert manifest.encode() == second[name].encode()
    assert digests(first) == digests(second)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "field", "value", "who"),
    [
        ("seed=3", "seed", 3, set(NAMES)),
        ("threads=2", "threads", 2, set(NAMES)),
        ("ncnn=99.1", "ncnn", "99.1", {"tiny-ncnn"}),
    ],
)
def test_another_seed_thread_count_or_library_gives_another_digest_where_it_decides_the_bytes(
    twice: tuple[Made, Made], change: str, field: str, value: object, who: set[str]
) -> None:
    was, now = twice[0]["none"], twice[1][change]
    assert {name for name in NAMES if digests(was)[name] != digests(now)[name]} == who
    for name in who:
        lineage = now[name].lineage
        assert lineage is not None
        assert {"seed": lineage.seed, "threads": lineage.threads, **lineage.libraries}[field] == value
