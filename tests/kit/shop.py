"""A coordinator's data folder with artifacts that are released, served, wanted, a base, or needed by nobody; none is young."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from littoral.digest import digest_of
from littoral.lineage import BASE, DATA, MEMBER, TEACHER, WEIGHTS, Lineage
from littoral_cloud.app import Core, open_core
from littoral_cloud.federation.run import FinishedRound, Run, RunState
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.records import Desired, DesiredModel, Enrolment, Node, Reported, ReportedModel, UpdateState, dump
from littoral_cloud.packaging.package import Packaged
from littoral_cloud.releases.catalogue import create_release, publish
from littoral_cloud.settings import load_settings
from tests.kit.models import artifact

DAY = 86_400.0
DATASET = digest_of(b"data")
TEACHERS = tuple(digest_of(b"teacher %d" % n) for n in range(3))  # the ensemble, and its two members
RECIPE: Mapping[str, Any] = {
    "student": {"seed": 2, "threads": 1, "epochs": 4, "methods": [{"kind": "magnitude", "sparsity": 0.5}]},
    "teacher": {"combine": "logits", "members": [{"seed": 1}, {"seed": 7}]},
    "variant": "onnx",
}


@dataclass(frozen=True)
class Shop:
    """A coordinator's data folder with artifacts of which nothing is young."""

    folder: Path
    digests: dict[str, str]  # of manifests, by name


async def put(core: Core, folder: Path, name: str, seed: int, *, base: str = "", **fields: Any) -> str:
    """Publishes an artifact of its own weights and gives its digest."""
    weights = f"weights of {name}".encode()
    parents: tuple[str, ...] = (DATASET, digest_of(weights), *((base,) if base else TEACHERS))
    roles = (DATA, WEIGHTS, *((BASE,) if base else (TEACHER, MEMBER, MEMBER)))
    recipe = {"run": {"seed": 3}} if base else RECIPE
    lineage = Lineage(roles, 2, 1, {"littoral": "0.1.0", "torch": "2.13.0"}, "x86_64 AVX2")
    manifest = artifact(folder / name, seed=seed, name=name, parents=parents, recipe=recipe, lineage=lineage)
    manifest = replace(manifest, **{"class_accuracy": (0.75, 0.25, 0.5), **fields})
    files = {file.path: (folder / name / file.path).read_bytes() for file in manifest.files}
    made = await publish(core, Packaged(manifest, files), core.clock() - 9 * DAY, weights=weights, data="/data/digits.npz")
    return made.manifest_digest


def grown_old(folder: Path) -> None:
    for path in (folder / "blobs").rglob("*"):
        if path.is_file():
            os.utime(path, (1e9, 1e9))


def stocked(tmp_path: Path) -> Shop:
    """`served`: released, on a node. `learnt`: released, of a run that began with `served`. `tuned`: wanted on a node, made from
    `base`, which nothing else needs. `lost`, `lost-too`: nobody needs them. And a blob that nobody names."""

    async def made() -> dict[str, str]:
        async with open_core(load_settings(data_dir=tmp_path / "cloud")) as core:
            digests = {}
            for seed, name in enumerate(("served", "base", "lost", "lost-too")):
                digests[name] = await put(core, tmp_path / "made", name, seed)
            digests["tuned"] = await put(core, tmp_path / "made", "tuned", 8, base=digest_of(b"weights of base"))
            digests["learnt"] = await put(core, tmp_path / "made", "learnt", 9, base=digest_of(b"weights of served"))
            now = core.clock()
            await create_release(core.ledger, "tiny", [digests["served"]], "manual", "by hand", now, actor="ada")
            await create_release(core.ledger, "tiny", [digests["learnt"]], "federated", "run r1", now, actor="loop")
            for path in ("first", "second"):
                core.blobs.put(f"global model after the {path} round".encode())
            core.blobs.put(b"nobody's")
            core.blobs.append(digest_of(b"never whole"), 0, b"never")
            served = ReportedModel(
                state=UpdateState.SUCCEEDED, desired_generation=1, target=digests["served"], serving=digests["served"]
            )
            wanted = DesiredModel(manifest_digest=digests["tuned"], rollout_id="tiny-1-r1", generation=2)
            federated = Run(
                run_id="r1",
                model="tiny",
                strategy="fedavg",
                rounds=2,
                local_epochs=1,
                learning_rate=1e-3,
                batch_size=8,
                seed=3,
                architecture={"name": "linear"},
                input={},
                classes=3,
                base_weights=digest_of(b"weights of served"),
                base_manifest=digests["served"],
                state=RunState.SUCCEEDED,
                finished=tuple(
                    FinishedRound(
                        number=n,
                        seconds=1.0,
                        weights=digest_of(data),
                        participants=("n1",),
                        failed={},
                        bytes_down=1,
                        bytes_up=1,
                        metrics={},
                    )
                    for n, data in enumerate((b"global model after the first round", b"weights of learnt"), 1)
                ),
            )
            node = Node(
                node_id="n1",
                name="gateway",
                enrolment=Enrolment.ACCEPTED,
                public_key_sha256="",
                certificate_sha256="",
                certificate_expires_at=4e9,
                enrolled_at=now,
            )
            writes = (
                Write("node", "n1", dump(node), 0),
                Write("reported", "n1", dump(Reported(generation=1, observed_generation=1, models={"tiny": served})), 0),
                Write("desired", "n1", dump(Desired(models={"tiny": wanted})), 0),
                Write("run", "r1", dump(federated), 0),
                Write("measurement", f"{digests['lost']}@n1", {"manifest_digest": digests["lost"]}, 0),
            )
            await core.ledger.commit(Change(writes))
        grown_old(tmp_path / "cloud")
        return digests

    return Shop(tmp_path / "cloud", asyncio.run(made()))
