"""What a run learnt is released; where it is worse than what it began with, not unasked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from littoral.digest import digest_of
from littoral_cloud.app import open_core
from littoral_cloud.cli import execute
from littoral_cloud.federation.run import RunState, create_run
from littoral_cloud.packaging.package import Bench, Provenance, candidates_from
from littoral_cloud.releases.catalogue import publish
from littoral_cloud.settings import load_settings
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.train import train_teacher
from littoral_cloud.training.weights import arrays_of, weights_bytes
from littoral_cloud.trust.people import Role, Scope
from tests.kit.federation import finished, small_run
from tests.kit.images import bars
from tests.kit.operators import operators_api
from tests.kit.patience import PATIENCE_S

SPEC = {"name": "compact_cnn", "widths": [4, 8]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coordinator's folder with an artifact, a run that forgot all ("worse") and one that changed nothing ("same")."""
    folder = tmp_path_factory.mktemp("cloud")
    data = bars()
    everything = {"x": np.concatenate([data.train_x, data.test_x]), "y": np.concatenate([data.train_y, data.test_y])}
    np.savez(folder / "bars.npz", **everything)
    trained = train_teacher(data, SPEC, epochs=4, seed=1, schedule=Schedule(batch=16, learning_rate=1e-2))
    provenance = Provenance((data.digest,))
    [packaged] = candidates_from(trained, Bench.of(data), ("ncnn",), model="bars", name="bars-s", provenance=provenance)
    base = weights_bytes(arrays_of(trained.module))
    for parameter in trained.module.parameters():
        parameter.data.zero_()
    forgotten = weights_bytes(arrays_of(trained.module))

    async def fill() -> None:
        async with open_core(load_settings(data_dir=folder)) as core:
            artifact = await publish(core, packaged, core.clock(), weights=base, data=str(folder / "bars.npz"))
            for run_id, result in (("worse", forgotten), ("forgot", forgotten), ("same", base)):
                held = small_run(
                    run_id,
                    digest_of(base),
                    model="bars",
                    rounds=1,
                    architecture=SPEC,
                    input={"shape": [1, 12, 12], "scale": 1 / 255, "mean": [0.2], "std": [0.2]},
                    base_manifest=artifact.manifest_digest,
                    data=str(folder / "bars.npz"),
                    state=RunState.SUCCEEDED,
                    finished=finished(0.5, weights=core.blobs.put(result)),
                )
                await create_run(core.ledger, held, actor="test")

    asyncio.run(fill())
    return folder


def released(capsys: pytest.CaptureFixture[str], place: Path, *words: str) -> tuple[int, str, str]:
    code = execute(["release", "create", "--format", "json", "--data-dir", str(place), *words])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.slow
def test_a_result_worse_than_its_base_is_refused_until_it_is_asked_for(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = released(capsys, place, "--run", "worse")
    error = json.loads(err.splitlines()[-1])["error"]
    assert (code, error["code"]) == (6, "worse-than-base")
    assert "worse than its base" in error["message"]
    assert "--yes" in error["hint"]
    code, out, err = released(capsys, place, "--run", "worse", "--yes")
    assert code == 0
    assert all("worse than its base" in " ".join(row["remarks"]) for row in json.loads(out)["artifacts"])
    assert "worse than its base" in err
    # A run has one release: it is not refused a second time.
    assert released(capsys, place, "--run", "worse")[0] == 0


@pytest.mark.slow
async def test_the_coordinator_makes_a_release_in_a_child_process_for_whoever_asks(place: Path) -> None:
    async with operators_api(place) as api:
        ada = await api.bearer(Role.OPERATOR, name="ada")
        other = await api.bearer(Role.OPERATOR, name="otto", scope=Scope(models=("other",)))
        body = {"worse_too": False}
        assert (await api.http.post("/api/v1/runs/forgot/release", headers=other, json=body)).status_code == 403
        refused = await api.http.post("/api/v1/runs/forgot/release", headers=ada, json=body, timeout=PATIENCE_S)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "worse-than-base")
        made = await api.http.post("/api/v1/runs/forgot/release", headers=ada, json={"worse_too": True}, timeout=PATIENCE_S)
        assert (made.status_code, made.json()["release"]["run_id"]) == (201, "forgot")
        [line] = [each for each in await api.core.ledger.audit() if each.details.get("note") == "run forgot"]
        assert line.actor == "ada"


@pytest.mark.slow
def test_one_that_is_no_worse_is_released(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = released(capsys, place, "--run", "same")
    assert (code, "worse" in err) == (0, False), err
    assert json.loads(out)["kind"] == "federated"
