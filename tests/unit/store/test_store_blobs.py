from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from littoral.digest import digest_of
from littoral.errors import BadInput, Conflict, DigestMismatch, NotFound, TooLarge
from littoral.transport import MAX_BLOB_BYTES
from littoral_cloud.store.blobs import BlobFolder

DATA = b"a model" * 1000
DIGEST = digest_of(DATA)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path / "blobs")


def files(blobs: BlobFolder) -> list[Path]:
    return [path for path in blobs.root.rglob("*") if path.is_file()]


def test_what_is_put_can_be_read_by_its_digest(blobs: BlobFolder) -> None:
    assert blobs.put(DATA) == blobs.put(DATA) == DIGEST
    assert blobs.read(DIGEST) == blobs.path(DIGEST).read_bytes() == DATA
    assert blobs.has(DIGEST)
    assert blobs.stored_bytes(DIGEST) == len(DATA)
    assert files(blobs) == [blobs.path(DIGEST)]


def test_what_is_not_there_is_not_found(blobs: BlobFolder) -> None:
    for ask in (blobs.path, blobs.read):
        with pytest.raises(NotFound, match=DIGEST):
            ask(DIGEST)
    assert not blobs.has(DIGEST)
    assert blobs.stored_bytes(DIGEST) == 0


@given(
    st.text(max_size=80)
    | st.sampled_from(["../../etc/passwd", "sha256:../../../etc/passwd", "sha256:" + "A" * 64, DIGEST + "\n"])
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_leads_out_of_the_folder(blobs: BlobFolder, name: str) -> None:
    for ask in (blobs.has, blobs.path, blobs.read, blobs.stored_bytes):
        with pytest.raises(BadInput, match="digest"):
            ask(name)
    with pytest.raises(BadInput):
        blobs.append(name, 0, b"x")
    with pytest.raises(BadInput):
        blobs.complete(name, 1)


def test_a_flipped_byte_is_seen_and_putting_again_mends_it(blobs: BlobFolder) -> None:
    blobs.put(DATA)
    rotten = bytearray(DATA)
    rotten[500] ^= 1
    blobs.path(DIGEST).write_bytes(rotten)
    with pytest.raises(DigestMismatch, match="other bytes"):
        blobs.read(DIGEST)
    blobs.put(DATA)
    assert blobs.read(DIGEST) == DATA


@given(cuts=st.lists(st.integers(0, len(DATA)), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_a_blob_in_parts_is_whole_wherever_it_was_cut(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    folder = tmp_path_factory.mktemp("parts")
    at = 0
    for cut in (*sorted(cuts), len(DATA)):
        blobs = BlobFolder(folder)  # as after a restart
        assert blobs.stored_bytes(DIGEST) == at
        assert blobs.append(DIGEST, at, DATA[at:cut]) == cut
        at = cut
    assert blobs.complete(DIGEST, len(DATA)) == blobs.path(DIGEST)
    assert blobs.complete(DIGEST, len(DATA)) == blobs.path(DIGEST), "twice is once"
    assert blobs.read(DIGEST) == DATA
    assert files(blobs) == [blobs.path(DIGEST)]


def test_parts_go_on_where_they_ended_and_nowhere_else(blobs: BlobFolder) -> None:
    blobs.append(DIGEST, 0, DATA[:100])
    for offset in (0, 99, 101):
        with pytest.raises(Conflict, match="100 bytes that are stored"):
            blobs.append(DIGEST, offset, b"x")
    with pytest.raises(Conflict, match="100 of"):
        blobs.complete(DIGEST, len(DATA))
    assert blobs.stored_bytes(DIGEST) == 100


@pytest.mark.parametrize("came", [DATA[:-1] + b"!", DATA + b"!"])
def test_parts_that_make_other_bytes_are_thrown_away(blobs: BlobFolder, came: bytes) -> None:
    blobs.append(DIGEST, 0, came)
    with pytest.raises(DigestMismatch, match="put it again"):
        blobs.complete(DIGEST, len(DATA))
    assert files(blobs) == []
    assert blobs.stored_bytes(DIGEST) == 0


def test_a_blob_over_the_limit_is_refused(blobs: BlobFolder) -> None:
    with pytest.raises(TooLarge, match=str(MAX_BLOB_BYTES)):
        blobs.append(DIGEST, MAX_BLOB_BYTES, b"x")


def test_many_who_put_the_same_do_no_harm(blobs: BlobFolder) -> None:
    def in_parts(_: int) -> None:
        while not blobs.has(DIGEST):
            try:
                at = blobs.stored_bytes(DIGEST)
                blobs.append(DIGEST, at, DATA[at : at + 997])
                if at + 997 >= len(DATA):
                    blobs.complete(DIGEST, len(DATA))
            except (Conflict, DigestMismatch):
                continue

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(in_parts, range(4)))
        assert set(pool.map(lambda _: blobs.put(DATA), range(8))) == {DIGEST}
    assert blobs.read(DIGEST) == DATA


def test_old_parts_are_swept_and_new_ones_kept(blobs: BlobFolder) -> None:
    old, new = digest_of(b"old"), digest_of(b"new")
    blobs.append(old, 0, b"o")
    blobs.append(new, 0, b"n")
    os.utime(blobs.root / "partial" / old.removeprefix("sha256:"), (1000, 1000))
    assert blobs.sweep(2000) == 1
    assert (blobs.stored_bytes(old), blobs.stored_bytes(new)) == (0, 1)


def test_who_collects_leaves_what_was_put_or_renewed_since(blobs: BlobFolder) -> None:
    path = blobs.path(blobs.put(DATA))
    os.utime(path, (1000, 1000))
    assert [(e.digest, e.bytes, e.changed) for e in blobs.entries()] == [(DIGEST, len(DATA), 1000)]
    assert blobs.discard(DIGEST, 1000) == 0
    for renews in (
        lambda: blobs.put(DATA),
        lambda: blobs.renew(DIGEST),
        lambda: blobs.complete(DIGEST, len(DATA)),
    ):
        os.utime(path, (1000, 1000))
        renews()
        assert blobs.discard(DIGEST, 2000) == 0
        assert blobs.read(DIGEST) == DATA
    os.utime(path, (1000, 1000))
    assert blobs.discard(DIGEST, 2000) == len(DATA)
    assert (blobs.has(DIGEST), blobs.renew(DIGEST), blobs.discard(DIGEST, 2000)) == (False, False, 0)
    assert blobs.put(DATA) == DIGEST


def test_parts_that_came_long_ago_are_young_once_they_are_whole(blobs: BlobFolder) -> None:
    blobs.append(DIGEST, 0, DATA)
    os.utime(blobs.root / "partial" / DIGEST.removeprefix("sha256:"), (1000, 1000))
    assert blobs.unfinished(2000) == (1, len(DATA))
    blobs.complete(DIGEST, len(DATA))
    assert (blobs.unfinished(2000), blobs.discard(DIGEST, 2000)) == ((0, 0), 0)


def test_of_who_puts_and_who_collects_at_the_same_moment_the_putter_finds_it_there(blobs: BlobFolder) -> None:
    together = threading.Barrier(2)

    def put() -> str:
        together.wait()
        return blobs.put(DATA)

    def collect() -> int:
        together.wait()
        return blobs.discard(DIGEST, 2000)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(200):
            blobs.put(DATA)
            os.utime(blobs.path(DIGEST), (1000, 1000))
            putter, collector = pool.submit(put), pool.submit(collect)
            assert putter.result() == DIGEST
            assert collector.result() in (0, len(DATA))
            assert blobs.read(DIGEST) == DATA


FULL = """
import resource, signal, sys
from pathlib import Path
from littoral_cloud.store.blobs import BlobFolder
from littoral.digest import digest_of
from littoral.errors import NoSpace
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
blobs = BlobFolder(Path(sys.argv[1]))
big = b"x" * 30_000
digest = digest_of(big)
try:
    blobs.put(big)
except NoSpace as error:
    assert error.hint and digest.removeprefix("sha256:") in str(error), error
else:
    raise SystemExit("a full disk was not noticed")
assert [p for p in blobs.root.rglob("*") if p.is_file()] == []
blobs.append(digest, 0, big[:8_000])
try:
    blobs.append(digest, 8_000, big[8_000:])
except NoSpace:
    assert blobs.stored_bytes(digest) == 8_000, blobs.stored_bytes(digest)
else:
    raise SystemExit("a full disk was not noticed")
print("held")
"""


def test_a_full_disk_is_said_plainly_and_what_was_held_is_kept(tmp_path: Path) -> None:
    """A limit on the size of files, in a process of its own: real errors of the kernel in the middle of a write."""
    (tmp_path / "source").write_bytes(b"x" * 30_000)
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "blobs"), str(tmp_path / "source")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr
    blobs, big = BlobFolder(tmp_path / "blobs"), b"x" * 30_000
    blobs.append(digest_of(big), 8_000, big[8_000:])
    blobs.complete(digest_of(big), len(big))
    assert blobs.read(digest_of(big)) == big
