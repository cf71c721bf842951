"""docs/api.md against the OpenAPI document and the limits in the source."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from littoral_cloud.api.rest import guard
from tests.kit.operators import operators_api

PAGE = Path(__file__).parents[2] / "docs/api.md"


async def test_each_example_asks_for_a_path_that_there_is_with_parameters_that_it_takes(tmp_path: Path) -> None:
    async with operators_api(tmp_path / "cloud") as api:
        document = api.app.openapi()
    examples = [line for line in PAGE.read_text().splitlines() if line.startswith("curl ")]
    assert len(examples) >= 4
    for line in examples:
        url = urlsplit(re.search(r'"\$API([^"]+)"', line)[1])  # type: ignore[index]
        method = (re.search(r"-X ([A-Z]+)", line) or [None, "GET"])[1]
        [path] = [
            each
            for each, methods in document["paths"].items()
            if str(method).lower() in methods and re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(each)), url.path)
        ]
        takes = {each["name"].lower() for each in document["paths"][path][str(method).lower()].get("parameters", ())}
        sent = {name.lower() for name, _ in parse_qsl(url.query)}
        sent |= {name.lower() for name in re.findall(r"-H [\"']([\w-]+):", line)}
        assert sent <= takes, line


async def test_every_post_of_a_small_body_documents_the_idempotency_key(tmp_path: Path) -> None:
    async with operators_api(tmp_path / "cloud") as api:
        document = api.app.openapi()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            names = {each["name"] for each in operation.get("parameters", ())}
            small = path.startswith("/api/v1/") and not path.startswith(guard.STREAMED)
            assert ("Idempotency-Key" in names) == (method == "post" and small), (method, path)


def test_the_rates_are_those_of_the_source() -> None:
    text = " ".join(PAGE.read_text().split())
    known = f"{guard.PER_SECOND:.0f} times in a second, and {guard.AT_ONCE} times at once"
    stranger = f"{guard.STRANGER_PER_SECOND:.0f} times in a second, and {guard.STRANGER_AT_ONCE} at once"
    assert known in text
    assert stranger in text
    assert guard.MOST_BODY == 1 << 20
