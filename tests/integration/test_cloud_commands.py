"""The commands token and audit as processes of their own, on one data folder."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from littoral import __version__
from littoral.identity import JoinLine
from littoral_cloud.app import open_core
from littoral_cloud.cli import INTERRUPTED
from littoral_cloud.fleet.ledger import Audit, Change, Write
from littoral_cloud.settings import load_settings
from tests.kit.patience import PATIENCE_S
from tests.kit.raw_redis import raw_redis, socket_of

# Whoever starts the tests in the background has them ignore Ctrl-C, and a child inherits that.
TTY = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
MAIN = (sys.executable, "-c", f"{TTY}; from littoral_cloud.cli import main; main()")


async def littoral_cloud(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *MAIN, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LITTORAL_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


async def test_a_token_is_one_line_that_holds_all_that_a_node_needs(data_dir: Path) -> None:
    code, out, err = await littoral_cloud(
        "token", "create", "--name", "gateway", "--ttl", "2h", "--address", "fleet.example:7443"
    )
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    line = JoinLine.parse(out)
    async with open_core(load_settings()) as core:
        assert (line.address, line.ca_sha256) == ("fleet.example:7443", core.trust.ca.fingerprint)
        assert abs(line.expires_at - core.clock() - 7200) < 120
        assert [entry.action for entry in await core.ledger.audit()] == ["token.created"]
    code, out, _ = await littoral_cloud("token", "list", "--format", "json")
    [listed] = json.loads(out)
    assert (code, listed["name"], listed["state"]) == (0, "gateway", "usable")
    assert line.token not in out
    assert await littoral_cloud("token", "revoke", "gateway") == (0, f"revoked {listed['id'][:12]}\n", "")
    code, out, err = await littoral_cloud("token", "revoke", "gateway")
    assert (code, out) == (4, "")
    assert err.startswith("error: token: none is 'gateway'\n  hint: ")


async def test_commands_share_the_redis_of_a_server_that_runs(data_dir: Path) -> None:
    async with open_core(load_settings()) as core, core.ledger.watch("token") as announcements, asyncio.timeout(PATIENCE_S):
        assert (await littoral_cloud("token", "create", "--address", "fleet.example:7443"))[0] == 0
        assert (await anext(announcements)).kind == "token"


async def test_a_trail_that_was_changed_is_told_by_its_line(data_dir: Path) -> None:
    async with open_core(load_settings()) as core:
        await core.ledger.commit(Change((), tuple(Audit("thing.done", str(n), "me", {"n": n}) for n in range(3))))
        head = await core.ledger.audit_head()
        code, out, _ = await littoral_cloud("audit", "verify", "--format", "json", "--head", head)
        assert (code, json.loads(out)) == (0, {"lines": 3, "archived": 0, "files": 0, "head": head, "whole": True})
        last = (await core.ledger.audit())[-1]
        raw_redis(socket_of(data_dir), "XDEL", "audit", last.id)
        code, _, err = await littoral_cloud("audit", "verify")
        assert (code, "lines at the end are gone" in err) == (3, True)
        raw_redis(socket_of(data_dir), "XDEL", "audit", (await core.ledger.audit())[0].id)
        code, _, err = await littoral_cloud("audit", "verify")
        assert (code, "line 1 " in err) == (3, True)


async def test_a_trail_can_be_followed_until_ctrl_c(data_dir: Path) -> None:
    async with open_core(load_settings()) as core, asyncio.timeout(PATIENCE_S):
        await core.ledger.commit(Change((), (Audit("thing.done", "first", "me"),)))
        process = await asyncio.create_subprocess_exec(
            *MAIN, "audit", "show", "--follow", "--format", "json", stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            assert json.loads(await process.stdout.readline())["subject"] == "first"
            await core.ledger.commit(Change((), (Audit("thing.done", "second", "me"),)))
            assert json.loads(await process.stdout.readline())["subject"] == "second"
            process.send_signal(signal.SIGINT)
            assert await process.wait() == INTERRUPTED
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def test_what_changes_is_followed_as_json_lines_until_ctrl_c(data_dir: Path) -> None:
    assert (await littoral_cloud("events"))[0] == 4
    async with open_core(load_settings()) as core, asyncio.timeout(PATIENCE_S):
        assert (await littoral_cloud("events"))[2].startswith("error: events: changes are not stored")
        process = await asyncio.create_subprocess_exec(
            *MAIN, "events", "--follow", "--kind", "node", "--format", "json", stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            line = asyncio.create_task(process.stdout.readline())
            while not line.done():  # it follows what changes from its start on, whenever that is
                await core.ledger.commit(Change((Write("other", "x", {}, None), Write("node", "n1", {}, None))))
                await asyncio.wait([line], timeout=0.2)
            assert json.loads(await line) | {"generation": 0} == {"kind": "node", "id": "n1", "generation": 0}
            process.send_signal(signal.SIGINT)
            assert await process.wait() == INTERRUPTED
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("token", "create", "--ttl", "soon"), 2, "--ttl: 'soon'"),
        (("token", "create", "--ttl", "0h"), 2, "--ttl: '0h'"),
        (("token", "create", "--ttl", "99999999999d"), 2, "--ttl: '99999999999d' is too long a time"),
        (("token", "create", "--address", "nowhere"), 2, "--address: 'nowhere'"),
        (("token", "create", "--label", "x"), 2, "--label: 'x'"),
        (("--redis-url", "redis+sentinel://h", "token", "create"), 2, "names no service of the sentinels"),
        (("--data-dir", "/dev/null/x", "token", "create"), 2, "data folder: /dev/null/x cannot be written: Not a directory"),
        (("--data-dir", "/dev/null/x", "token", "list"), 4, "data folder: /dev/null/x holds no coordinator's data"),
        (("unknown",), 2, "unknown"),
    ],
)
async def test_bad_input_is_one_line_with_a_way_out_and_no_traceback(arguments: tuple[str, ...], code: int, word: str) -> None:
    found, out, err = await littoral_cloud(*arguments)
    assert (found, out) == (code, "")
    assert word in err
    assert "Traceback" not in err


async def test_it_says_its_version_and_shows_where_an_error_came_from_when_asked() -> None:
    assert await littoral_cloud("--version") == (0, f"littoral-cloud {__version__}\n", "")
    _, _, err = await littoral_cloud("--debug", "token", "revoke", "x")
    assert "Traceback" in err
