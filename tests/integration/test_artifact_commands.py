"""littoral-cloud artifact show, diff and gc, as an operator types them, over an embedded Redis."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from littoral.digest import digest_of
from littoral.metric import Metric
from littoral_cloud.app import open_core
from littoral_cloud.cli import execute
from littoral_cloud.settings import load_settings
from tests.kit.shop import DATASET, RECIPE, TEACHERS, Shop, put

pytest_plugins = ("tests.kit.shop_fixture",)


def test_the_story_is_a_tree_from_the_data_to_the_node(shop: Shop, said: Any) -> None:
    told = said("artifact", "show", "served")
    assert told.splitlines()[0] == f"served (tiny, onnxruntime)  {shop.digests['served']}"
    for line in (
        "+- accuracy 0.5 on 100 examples, worst class 0.25 (class 1)",
        f"|  `- weights {digest_of(b'weights of served')} (here: a run can start with them)",
        "+- student: epochs 4, seed 2, threads 1",
        f"|  +- teacher {TEACHERS[0]}: combine logits",
        f"|  |  +- member {TEACHERS[1]}: seed 1",
        f"|  |  `- member {TEACHERS[2]}: seed 7",
        f"|  +- data {DATASET} in /data/digits.npz",
        "|  +- method magnitude: sparsity 0.5",
        "+- made with: littoral 0.1.0, torch 2.13.0; on x86_64 AVX2; seed 2, threads 1",
        "+- served by gateway",
        "`- audit trail",
    ):
        assert f"\n{line}\n" in told
    assert "|  `- tiny-1: manual, by hand, " in told
    assert " by ada\n" in told
    assert "+- made from it\n|  `- learnt  " in told
    assert "artifact.signed" in told


def test_what_a_fleet_learnt_leads_back_to_what_the_run_began_with(shop: Shop, said: Any) -> None:
    told = said("artifact", "show", "learnt")
    assert "\n+- federated run r1: fedavg, 2 rounds, 1 node, seed 3\n" in told
    assert f"\n|  `- served (tiny, onnxruntime)  {shop.digests['served']}\n" in told
    whole = said("artifact", "show", shop.digests["learnt"][7:20], "--format", "json")
    assert (whole["run"], whole["base"], whole["roles"]) == ("r1", shop.digests["served"], ["data", "weights", "base"])
    assert [release["release_id"] for release in whole["releases"]] == ["tiny-2"]
    assert (whole["served_by"], whole["lineage"]["seed"]) == ([], 2)
    assert said("artifact", "show", "tuned", "--format", "json")["wanted_by"] == ["gateway"]
    assert said("artifact", "show", "base", "--format", "json")["children"] == [shop.digests["tuned"]]


def test_a_model_from_elsewhere_leads_back_to_its_file(shop: Shop, said: Any) -> None:
    file = digest_of(b"a file from elsewhere")

    async def imported() -> None:
        async with open_core(load_settings()) as core:
            recipe = {"import": {"file": "net.onnx", "output": "y"}, "variant": "onnx"}
            architecture = {"name": "imported", "file": "net.onnx"}
            metric = Metric("rmse", 0.25, higher_is_better=False)
            changed = {"recipe": recipe, "architecture": architecture, "task": "regression", "metric": metric}
            await put(core, shop.folder / "made", "foreign", 3, base=file, **changed)

    asyncio.run(imported())
    told = said("artifact", "show", "foreign")
    assert f"\n+- imported from net.onnx {file}: file net.onnx, output y\n" in told
    assert "\n+- regression, rmse 0.25 on 100 examples" in told
    assert said("artifact", "show", "foreign", "--format", "json")["metric"]["value"] == 0.25


def test_a_diff_names_each_key_that_changed(shop: Shop, said: Any) -> None:
    async def another() -> None:
        async with open_core(load_settings()) as core:
            recipe = {**RECIPE, "student": {**RECIPE["student"], "epochs": 5, "methods": []}}
            await put(
                core, shop.folder / "made", "other", 0, recipe=recipe, accuracy=0.625, architecture={"name": "linear", "width": 3}
            )

    asyncio.run(another())
    changes = said("artifact", "diff", "served", "other", "--format", "json")["changes"]
    found = {f"{c['section']}.{c['key']}": (c["before"], c["after"]) for c in changes}
    assert found == {
        "artifact.name": ("served", "other"),
        "architecture.width": (None, 3),
        "recipe.student.epochs": (4, 5),
        "recipe.student.methods": (None, []),
        "recipe.student.methods[0].kind": ("magnitude", None),
        "recipe.student.methods[0].sparsity": (0.5, None),
        "parents.weights": ([digest_of(b"weights of served")], [digest_of(b"weights of other")]),
        "metrics.accuracy": (0.5, 0.625),
    }
    table = said("artifact", "diff", "served", "other")
    assert "recipe        student.epochs" in table
    assert said("artifact", "diff", "served", shop.digests["served"]) == "nothing differs\n"


@pytest.mark.parametrize(
    ("wanted", "what", "way_out"),
    [
        ("servd", "'servd' is no artifact", "the nearest name is 'served'"),
        ("zzz", "'zzz' is no artifact", "littoral-cloud artifact list"),
        ("", "'' is no artifact", "littoral-cloud artifact list"),
        ("sha256:", "'sha256:' is no artifact", "littoral-cloud artifact list"),
    ],
)
def test_who_mistypes_is_told_what_is_nearest(
    shop: Shop, capsys: pytest.CaptureFixture[str], wanted: str, what: str, way_out: str
) -> None:
    for words in (("show", wanted), ("diff", "served", wanted)):
        assert execute(["artifact", *words]) == 4
        told = capsys.readouterr()
        assert told.out == ""
        assert f"error: artifact: {what}\n  hint: " in told.err
        assert way_out in told.err


def test_a_digest_that_nearly_fits_and_a_beginning_of_many_are_told_by_what_is_there(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = shop.digests["served"].removeprefix("sha256:")
    assert execute(["artifact", "show", digest[:20] + ("0" if digest[20] != "0" else "1")]) == 4
    assert f"the nearest digest begins {digest[:12]} (served)" in capsys.readouterr().err

    async def again() -> str:
        async with open_core(load_settings()) as core:
            return await put(core, shop.folder / "made", "served", 0, accuracy=0.75)

    other = asyncio.run(again()).removeprefix("sha256:")
    assert execute(["artifact", "show", "served"]) == 4
    told = capsys.readouterr().err
    assert "'served' is the name of 2 artifacts" in told
    assert f"{digest[:12]} (served)" in told
    assert f"{other[:12]} (served)" in told
    assert execute(["artifact", "show", other[:12]]) == 0


def test_what_nobody_needs_is_said_first_and_then_deleted_and_audited(shop: Shop, said: Any) -> None:
    dry = said("artifact", "gc", "--dry-run", "--format", "json")
    assert [row["name"] for row in dry["artifacts"]] == ["lost", "lost-too"]
    assert {row["name"]: row["why"] for row in dry["retained"]} == {
        "served": "release tiny-1",
        "learnt": "release tiny-2",
        "tuned": "desired n1",
        "base": "artifact tuned was made from it",
    }
    assert dry["deleted"] is None
    assert "not needed: 2 of 6 artifacts; with them go " in said("artifact", "gc", "--dry-run")
    held = {path: path.stat().st_size for path in (shop.folder / "blobs").rglob("*") if path.is_file()}
    done = said("artifact", "gc", "--format", "json")["deleted"]
    left = {path for path in (shop.folder / "blobs").rglob("*") if path.is_file()}
    gone = [size for path, size in held.items() if path not in left]
    # Two artifacts of three blobs each, the models of two rounds that nothing goes on from, and what nobody names.
    assert done == {"artifacts": 2, "blobs": 9, "unfinished": 1, "bytes": sum(gone)}
    assert (len(gone), dry["bytes"]) == (10, done["bytes"])
    assert sorted(row["name"] for row in said("artifact", "list", "--format", "json")) == ["base", "learnt", "served", "tuned"]
    for name in ("served", "learnt", "tuned", "base"):
        assert said("artifact", "show", name, "--format", "json")["weights_held"] is True
    actions = [json.loads(line)["action"] for line in audit(said)]
    assert actions[-3:] == ["artifact.deleted", "artifact.deleted", "blobs.collected"]
    assert said("artifact", "gc", "--format", "json")["deleted"] == {"artifacts": 0, "blobs": 0, "unfinished": 0, "bytes": 0}


def audit(said: Any) -> list[str]:
    out: str = said("audit", "show", "--format=json")
    return out.splitlines()


def test_what_is_young_stays(shop: Shop, said: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert said("artifact", "gc", "--older-than", "30d", "--format", "json")["deleted"]["artifacts"] == 0
    assert execute(["artifact", "gc", "--older-than", "9m"]) == 2
    assert "10m at least" in capsys.readouterr().err
    assert execute(["artifact", "gc", "--older-than", "soon"]) == 2
    assert "--older-than: 'soon' is no time" in capsys.readouterr().err
