"""The page of a model and of a node: what is shown of each artifact."""

from __future__ import annotations

import json
import re
from html import unescape
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


async def test_what_nobody_measured_is_shown_as_such_and_is_no_dot_in_the_chart(tmp_path: Path) -> None:
    async with operators_api(tmp_path / "cloud") as api:
        viewer = await api.bearer(Role.VIEWER)
        await seed(api.core, tmp_path / "made", 2, hostile=False)
        digest = await put(api.core, tmp_path / "raw", "raw", 22, accuracy=0.0, class_accuracy=(), accuracy_examples=0)
        front = (await api.http.get("/api/v1/models/tiny/front", headers=viewer)).json()
        [raw] = [point for point in front["points"] if point["name"] == "raw"]
        assert (raw["value"], raw["score"], raw["front"]) == (None, None, False)
        assert front["points"][-1] == raw
        for path in ("/releases", f"/artifacts/{digest}", "/fleet/00000001"):
            page = (await api.http.get(path, headers=viewer)).text
            assert "not measured" in page, path
            assert "0.00 %" not in page, path
            assert "accuracy 0 " not in page, path
        charts = re.findall(r'data-chart="([^"]+)"', (await api.http.get("/releases", headers=viewer)).text)
        values = [value for chart in charts for series in json.loads(unescape(chart))["series"] for value in series["values"]]
        assert min(value for value in values if value is not None) > 50
