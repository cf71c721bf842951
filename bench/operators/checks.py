"""What the tests of the API and of the page count: authorization cases, and what axe-core finds on every page."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from bench.report import Figure, Table

ABOUT = "authorization cases, and axe-core over every page"
AUTHORIZATION = ("tests/integration/test_operator_api.py", "tests/integration/test_rpc_audiences.py")
PAGE = ("tests/integration/test_page.py",)


async def measured(*, quick: bool) -> tuple[Table, dict[str, Figure]]:
    rows = []
    found: dict[str, Counter[str]] = {}
    for name, files in (("authorization", AUTHORIZATION), ("page", PAGE)):
        counts = found[name] = await _counted(files[:1] if quick else files)
        rows.append(
            [name, counts["tests"], counts["failed"], counts["skipped"], counts["authorization_cases"], counts["axe_pages"]]
        )
    cases, page = found["authorization"], found["page"]
    table = Table(
        "The tests of who may do what, and of the page",
        ("tests", "run", "failed", "skipped", "authorization cases", "pages looked at by axe-core"),
        rows,
        (
            "A case is one caller at one path or RPC: nobody, an expired and a revoked token, and each role at each operation of "
            "the OpenAPI document; a stranger, a node that was taken out, and a node of the fleet at each RPC.",
        ),
    )
    note = f"{cases['failed']} tests failed, {cases['skipped']} were skipped"
    return table, {
        "authorization_cases": Figure.of(cases["authorization_cases"], "cases", "higher", note),
        "axe_violations": Figure.of(
            page["failed"],
            "rules",
            "lower",
            f"tests of the page that failed; axe-core over {page['axe_pages']} pages, light and dark",
        ),
    }


async def _counted(files: tuple[str, ...]) -> Counter[str]:
    """Of one run of pytest: tests, failed, skipped, and every number that a test has recorded."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-o", "junit_family=xunit1", f"--junitxml={report}", *files]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        await process.wait()
        counts: Counter[str] = Counter()
        for case in ElementTree.parse(report).iter("testcase"):
            counts["tests"] += 1
            counts["failed"] += case.find("failure") is not None or case.find("error") is not None
            counts["skipped"] += case.find("skipped") is not None
            for each in case.iter("property"):
                counts[each.attrib["name"]] += int(each.attrib["value"])
        return counts
