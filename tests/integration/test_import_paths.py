"""A model from elsewhere, uploaded and imported by the coordinator: what it makes of a good file, and of files that are none."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from littoral.digest import digest_of
from littoral.manifest import Manifest
from littoral_cloud.trust.people import Role, Scope
from tests.kit.foreign import house_prices, houses, write
from tests.kit.operators import operators_api


async def test_a_model_is_imported_by_its_files_alone_and_hostile_ones_are_refused(tmp_path: Path) -> None:
    model = write(tmp_path / "prices.onnx", house_prices()).read_bytes()
    examples: Any = houses()
    np.savez(tmp_path / "d.npz", **examples)
    data = (tmp_path / "d.npz").read_bytes()
    async with operators_api(tmp_path / "cloud") as api:
        who = await api.bearer(Role.OPERATOR, name="ada")

        async def up(content: bytes) -> str:
            digest = digest_of(content)
            query = {"total_bytes": len(content)}
            answer = await api.http.put(f"/api/v1/uploads/{digest}", params=query, content=content, headers=who)
            assert answer.status_code == 200, answer.text
            return digest

        async def imported(code: int, headers: dict[str, str] = who, **body: Any) -> Any:
            asked = {"model": "prices", "file": file, "file_name": "prices.onnx", "task": "regression", **body}
            answer = await api.http.post("/api/v1/artifacts/import", json=asked, headers=headers, timeout=120)
            assert answer.status_code == code, answer.text
            return answer.json()

        file = await up(model)
        made = await imported(201, data=await up(data), data_name="d.npz", metric="mae", rollout=True)
        assert (made["release"], made["rollout"]) == ("prices-1", "prices-1-r1")
        first = made["artifacts"][0]
        assert (first["artifact"]["metric"]["name"], first["examples"], first["inputs"][0]) == ("mae", 8, "area FP32 [any, 2]")
        core = api.core
        manifest = Manifest.open(core.blobs.read(first["artifact"]["manifest_digest"]), core.trust.signing_keys())
        assert all(core.blobs.has(each.digest) for each in manifest.files)
        signed = [line for line in await core.ledger.audit() if line.action == "artifact.signed"]
        assert {line.actor for line in signed} == {"ada"}

        bundle = await api.http.get(f"/api/v1/artifacts/{first['artifact']['name']}/bundle", headers=who)
        assert (bundle.status_code, int(bundle.headers["content-length"])) == (200, len(bundle.content))
        with tarfile.open(fileobj=io.BytesIO(bundle.content)) as archive:
            inside = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
        keys = {id: base64.b64decode(key) for id, key in json.loads(inside.pop("signing-keys.json")).items()}
        assert Manifest.open(inside.pop("manifest.dsse.json"), keys) == manifest
        assert {name: digest_of(content) for name, content in inside.items()} == {
            f"files/{each.path}": each.digest for each in manifest.files
        }

        assert (await imported(422, file=digest_of(b"nowhere")))["error"]["field"] == "file"
        for name in ("../prices.onnx", "a/b.onnx", "", ".hidden", "x\x00y"):
            assert (await imported(422, file_name=name))["error"]["field"] == "file", name
        assert (await imported(422, metric="os:system"))["error"]["field"] == "metric"
        refused = await imported(422, file=await up(b"no graph at all"))
        assert "prices.onnx" in refused["error"]["message"]
        assert str(tmp_path) not in refused["error"]["message"]
        assert "/tmp" not in refused["error"]["message"]
        await imported(403, await api.bearer(Role.VIEWER))
        await imported(403, await api.bearer(Role.OPERATOR, name="ben", scope=Scope(models=("faces",))))
        assert len((await api.http.get("/api/v1/releases", headers=who)).json()["items"]) == 1
