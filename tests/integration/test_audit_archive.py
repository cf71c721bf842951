"""Old lines of the audit trail go into files: killed anywhere, in two processes, on a full disk, no line is lost."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.errors import Conflict, LostLease, NoSpace, NotFound, Untrusted
from littoral_cloud.app import open_core
from littoral_cloud.cli import execute
from littoral_cloud.fleet.ledger import Audit, AuditEntry, Change, Ledger
from littoral_cloud.settings import CloudSettings
from littoral_cloud.store.connection import Endpoint
from littoral_cloud.store.redis_ledger import RedisLedger
from littoral_cloud.trust.audit_archive import ACTION, FOLDER, LEASE, ArchiveStep, AuditArchive
from littoral_cloud.trust.audit_check import archived_about, check_trail
from littoral_cloud.trust.audit_checkpoint import AuditCheckpoint, read_checkpoints
from littoral_cloud.trust.audit_files import read_lines
from littoral_cloud.trust.signing import IntroducedSigningKey
from littoral_cloud.trust.store import Trust
from littoral_cloud.trust.witness import Witness
from tests.kit.certificates import Authority
from tests.kit.raw_redis import raw_redis, socket_of

pytest_plugins = ("tests.kit.redis", "tests.kit.disk")

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CUT = 100.0  # seconds: what is older goes


class Times:
    """The time at which lines are written."""

    now = 1.0


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
async def trail(redis_endpoint: Endpoint, fleet_name: str, times: Times) -> AsyncIterator[RedisLedger]:
    async with RedisLedger.open(redis_endpoint, lambda: times.now, fleet=fleet_name, patience_s=5.0) as opened:
        yield opened


def trust_of(key: Ed25519PrivateKey) -> Trust:
    return Trust(Path(), [Authority().issuer], [IntroducedSigningKey(key)])


def archive_of(ledger: Ledger, folder: Path, key: Ed25519PrivateKey = KEY) -> AuditArchive:
    made = AuditArchive(ledger, folder, trust_of(key), Witness(folder.parent / "head.json", lambda: 0.0, {}), lambda: 7.0)
    return replace(made, witness=Witness(folder.parent / "head.json", lambda: 0.0, made.trusted))


async def archived(archive: AuditArchive, before: float = CUT) -> tuple[AuditCheckpoint, ...]:
    async with archive.ledger.lease(LEASE) as fence:
        return await archive.archive(before, fence, actor="me")


async def said(ledger: Ledger, times: Times, *at: float, size: int = 0) -> None:
    for number, times.now in enumerate(at):
        await ledger.commit(
            Change((), (Audit("thing.done", f"{number}", "me", {"at": times.now, "x": secrets.token_hex(size)}),))
        )


async def everything(archive: AuditArchive) -> list[AuditEntry]:
    """All lines: of the files that a checkpoint in the ledger names, then of the trail; one that stands in both once."""
    checkpoints = await read_checkpoints(archive.ledger, archive.trusted)
    found = [entry for each in checkpoints for entry in read_lines(Path(each.folder, each.file))]
    there = {entry.id for entry in found}
    return found + [entry for entry in await archive.ledger.audit() if entry.id not in there]


async def test_what_is_old_lies_in_files_and_the_chain_goes_on_from_the_checkpoint(
    trail: RedisLedger, times: Times, tmp_path: Path
) -> None:
    archive = replace(archive_of(trail, tmp_path / "audit"), most_lines=3)
    await said(trail, times, 1, 2, 3, 4, 5, 101, 102)
    before = list(await trail.audit())
    first, second = await archived(archive)
    assert [(c.number, c.lines, c.lines_before, c.chain) for c in (first, second)] == [
        (1, 3, 0, before[2].chain),
        (2, 2, 3, before[4].chain),
    ]
    live = await trail.audit()
    assert [entry.action for entry in live] == ["thing.done", "thing.done", ACTION, ACTION]
    assert [entry.subject for entry in live[2:]] == [first.file, second.file]
    assert await everything(archive) == before + list(live[2:])
    found = await check_trail(trail, archive.trusted, folder=tmp_path)
    assert (found.lines, found.archived, found.files, found.head) == (4, 5, 2, live[-1].chain)
    assert (await check_trail(trail, archive.trusted)).files == 0
    assert await archived_about(trail, archive.trusted, tmp_path, {"1", "4"}) == [before[1], before[4]]
    assert await archived(archive) == (), "nothing is older any more"

    await said(trail, times, 103, 104)
    (third,) = await archived(replace(archive, most_lines=9), 103.0)
    assert (third.number, third.lines_before, third.lines) == (3, 5, 4)
    assert (await check_trail(trail, archive.trusted, wanted=before[0].chain, folder=tmp_path)).files == 3
    with pytest.raises(Untrusted, match="no line in Redis has the chain"):
        await check_trail(trail, archive.trusted, wanted=before[0].chain)
    with pytest.raises(Untrusted, match="was written anew"):
        await check_trail(trail, archive.trusted, wanted="f" * 64, folder=tmp_path)


async def test_everything_may_go_and_the_trail_continues(trail: RedisLedger, times: Times, tmp_path: Path) -> None:
    archive = archive_of(trail, tmp_path / "audit")
    await said(trail, times, 1, 2)
    await archive.witness.end(trail)
    await archived(archive, 1e12)
    assert [entry.action for entry in await trail.audit()] == [ACTION]
    await archived(archive, 1e12)
    assert [entry.action for entry in await trail.audit()] == [ACTION], "its own line does not keep it busy for ever"
    assert (await check_trail(trail, archive.trusted, folder=tmp_path)).archived == 3
    assert await archive.witness.missing(trail) == ()


@pytest.mark.parametrize("step", ArchiveStep)
async def test_after_an_error_at_any_step_the_next_call_continues(
    trail: RedisLedger, times: Times, tmp_path: Path, step: ArchiveStep
) -> None:
    class Broken(Exception):
        pass

    def breaks(now: ArchiveStep, _: object) -> None:
        if now is step:
            raise Broken

    archive = archive_of(trail, tmp_path / "audit")
    await said(trail, times, 1, 2, 3, 101)
    before = list(await trail.audit())
    with pytest.raises(Broken):
        await archived(replace(archive, passed=breaks))
    assert (await everything(archive))[:4] == before
    await check_trail(trail, archive.trusted, folder=tmp_path)
    await archived(archive)
    assert [entry.subject for entry in await trail.audit()][:1] == ["3"]
    assert (await everything(archive))[:4] == before
    assert (await check_trail(trail, archive.trusted, folder=tmp_path)).archived == 3
    files = [path.name for path in (tmp_path / "audit").iterdir()]
    assert len(files) == 2, files


@pytest.mark.slow
async def test_killed_after_each_step_nothing_is_lost_and_the_same_command_continues(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    data = tmp_path_factory.mktemp("a")
    settings = CloudSettings(data_dir=data)
    written: list[AuditEntry] = []
    for step in ArchiveStep:
        async with open_core(settings) as core:
            await core.ledger.commit(Change((), (Audit("thing.done", step, "me"), Audit("thing.done", step, "you"))))
            written += [entry for entry in await core.ledger.audit() if entry.subject == step]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.kit.dying_archiver", step, str(data)),
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate()
        assert process.returncode == -signal.SIGKILL, err.decode()
        async with open_core(settings) as core:
            # The dead one's lease ends by itself after ten seconds, which nobody here needs to sit through.
            raw_redis(socket_of(data), "DEL", f"lease:{LEASE}")
            assert await core.witness.missing(core.ledger) == ()
            await check_trail(core.ledger, core.trust.signing_keys(), folder=data / FOLDER)
    async with open_core(settings) as core:
        archive = AuditArchive(core.ledger, data / FOLDER, core.trust, core.witness, core.clock)
        await archived(archive, 1e12)
        assert [entry for entry in await everything(archive) if entry.action == "thing.done"] == written


async def test_of_two_at_the_same_moment_one_works_and_the_other_finds_nothing_left(
    trail: RedisLedger, times: Times, tmp_path: Path, another: Callable[[], AbstractAsyncContextManager[RedisLedger]]
) -> None:
    await said(trail, times, 1, 2, 3, 101)
    async with another() as second:
        made = await asyncio.gather(
            archived(archive_of(trail, tmp_path / "audit")), archived(archive_of(second, tmp_path / "audit"))
        )
    assert sorted(len(each) for each in made) == [0, 1]
    assert (await check_trail(trail, archive_of(trail, tmp_path).trusted, folder=tmp_path)).archived == 3


async def test_one_that_wakes_up_after_its_lease_is_lost_changes_nothing(
    trail: RedisLedger,
    times: Times,
    tmp_path: Path,
    redis_socket: Path,
    fleet_name: str,
    another: Callable[[], AbstractAsyncContextManager[RedisLedger]],
) -> None:
    await said(trail, times, 1, 2, 3, 101)
    async with another() as second:
        sleeper, awake = archive_of(trail, tmp_path / "audit"), archive_of(second, tmp_path / "audit")
        async with trail.lease(LEASE) as old:
            raw_redis(redis_socket, "DEL", f"lease:{LEASE}", fleet=fleet_name)
            await archived(awake, 3.0)
            with pytest.raises(LostLease):
                await sleeper.archive(CUT, old, actor="sleeper")
            with suppress(LostLease):  # of the context
                await archived(awake)
    assert (await check_trail(trail, awake.trusted, folder=tmp_path)).archived == 3


async def test_on_a_full_disk_nothing_is_cut_and_nothing_is_left_behind(
    trail: RedisLedger, times: Times, tiny_disk: Path
) -> None:
    archive = archive_of(trail, tiny_disk / "audit")
    await said(trail, times, *range(1, 60), size=2_000)
    before = list(await trail.audit())
    with pytest.raises(NoSpace):
        await archived(archive)
    assert list(await trail.audit()) == before
    assert list((tiny_disk / "audit").iterdir()) == []
    assert await read_checkpoints(trail, archive.trusted) == ()


async def test_a_trail_that_was_changed_is_not_archived(
    trail: RedisLedger, times: Times, tmp_path: Path, redis_socket: Path, fleet_name: str
) -> None:
    archive = archive_of(trail, tmp_path / "audit")
    await said(trail, times, 1, 2, 3, 101)
    first, second, *_ = await trail.audit()
    raw_redis(redis_socket, "XDEL", "audit", second.id, fleet=fleet_name)
    with pytest.raises(Untrusted, match="lines before it are gone"):
        await archived(archive)
    assert (await trail.audit())[0] == first
    assert list((tmp_path / "audit").iterdir()) == []


async def test_a_cut_is_no_truncation_but_a_truncation_is(
    trail: RedisLedger, times: Times, tmp_path: Path, redis_socket: Path, fleet_name: str
) -> None:
    archive = archive_of(trail, tmp_path / "audit")
    await said(trail, times, 1, 2, 3, 101, 102)
    lines = await trail.audit()
    await archive.witness.end(trail)  # it knows line 102
    old = Witness(tmp_path / "old.json", lambda: 0.0, archive.trusted)
    stranger = Witness(tmp_path / "old.json", lambda: 0.0, {})
    await said(trail, times, 103)
    await old.end(trail)
    await archived(archive, 1e12)
    assert await archive.witness.missing(trail) == ()
    assert await old.missing(trail) == ()
    with pytest.raises(Untrusted, match="signature"):
        await stranger.missing(trail)

    raw_redis(redis_socket, "DEL", "docs:audit-checkpoint", fleet=fleet_name)
    assert [mark.id for mark in await archive.witness.missing(trail)] == [lines[-1].id]
    with pytest.raises(Untrusted, match="lines before it are gone"):
        await check_trail(trail, archive.trusted)
    with pytest.raises(Untrusted, match="nothing was cut"):
        await archived(archive)


async def test_a_checkpoint_of_another_key_and_a_changed_file_are_found(trail: RedisLedger, times: Times, tmp_path: Path) -> None:
    archive = archive_of(trail, tmp_path / "audit")
    await said(trail, times, 1, 2, 101)
    (made,) = await archived(archive)
    with pytest.raises(Untrusted, match="signature"):
        await check_trail(trail, archive_of(trail, tmp_path, Ed25519PrivateKey.generate()).trusted)
    place = tmp_path / "audit" / made.file
    whole = place.read_bytes()
    place.write_bytes(whole[:-9])
    await check_trail(trail, archive.trusted)
    with pytest.raises(Untrusted, match="cannot be read"):
        await check_trail(trail, archive.trusted, folder=tmp_path)
    place.rename(tmp_path / "elsewhere")
    with pytest.raises(NotFound, match=r"is not in .*audit"):
        await check_trail(trail, archive.trusted, folder=tmp_path)
    (tmp_path / made.file).write_bytes(whole)
    assert (await check_trail(trail, archive.trusted, folder=tmp_path)).files == 1


async def test_a_cut_needs_its_line(trail: RedisLedger, times: Times) -> None:
    await said(trail, times, 1, 2, 3)
    first, second, third = await trail.audit()
    for last, chain in ((second.id, first.chain), (second.id.partition("-")[0] + "-99999", second.chain)):
        with pytest.raises(Conflict, match="nothing was cut"):
            await trail.cut_audit(last, chain)
    assert len(await trail.audit()) == 3
    assert await trail.cut_audit(second.id, second.chain) == 2
    assert await trail.cut_audit(second.id, second.chain) == 0, "a lost reply changes nothing"
    assert list(await trail.audit()) == [third]


async def test_the_commands(tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path_factory.mktemp("a")
    async with open_core(CloudSettings(data_dir=data)) as core:
        await core.ledger.commit(Change((), (Audit("thing.done", "1", "me"), Audit("thing.done", "2", "me"))))

        async def answer(*words: str) -> tuple[int, str, str]:
            code = await asyncio.to_thread(execute, ["audit", *words, "--data-dir", str(data)])
            said = capsys.readouterr()
            return code, said.out, said.err

        assert (await answer("archive"))[0] == 2
        assert (await answer("archive", "--before", "yesterday"))[0] == 2
        assert (await answer("archive", "--older-than", "90d"))[:2] == (0, "nothing\n")
        code, out, _ = await answer("archive", "--before", "2999-01-01", "--to", str(data / "elsewhere"), "--format", "json")
        assert code == 0
        [row] = json.loads(out)
        assert Path(row["file"]).parent == data / "elsewhere"
        assert row["lines"] == 2
        code, out, err = await answer("show", "--format", "json")
        assert [json.loads(line)["action"] for line in out.splitlines()] == [ACTION]
        assert "2 older lines are in files" in err
        code, out, _ = await answer("verify", "--archived", "--format", "json")
        assert code == 0
        body = json.loads(out)
        assert (body["lines"], body["archived"], body["files"], body["whole"]) == (1, 2, 1, True)
