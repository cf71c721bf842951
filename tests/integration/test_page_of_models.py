"""The page of a model and of a node: what is shown of each artifact."""

from __future__ import annotations

from pathlib import Path

from littoral_cloud.trust.people import Role
from tests.kit.operators import operators_api
from tests.kit.page_world import seed
from tests.kit.shop import put


async def test_a_nodes_page_says_of_each_candidate_why_it_is_left_out_and_tells_namesakes_apart(tmp_path: Path) -> None:
    async with operators_api(tmp_path / "cloud") as api:
        viewer = await api.bearer(Role.VIEWER)
        digests = await seed(api.core, tmp_path / "made", 2, hostile=False)
        other = await put(api.core, tmp_path / "again", "student-ncnn", 21, accuracy=0.9)
        found = (await api.http.get("/api/v1/nodes/00000001/candidates", headers=viewer)).json()
        assert found, "the model is known"
        page = (await api.http.get("/fleet/00000001", headers=viewer)).text
        for of in found.values():
            for each in of["candidates"]:
                assert each["row"]["why_not"][:200] in page
        for digest in (other, digests["student-ncnn"]):
            assert f'student-ncnn <span class="mono small">{digest.removeprefix("sha256:")[:12]}</span>' in page
        assert "student-learnt <span" not in page
