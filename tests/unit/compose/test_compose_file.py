"""docker-compose.yml and the Dockerfiles, as far as they can be judged without an engine; bench/compose_check.sh runs them."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = sorted(name for name, service in SERVICES.items() if service.get("restart") != "no")
ONE_SHOT = sorted(set(SERVICES) - set(LASTING))
DOCKERFILES = sorted([*ROOT.glob("*/Dockerfile"), *ROOT.glob("*/*/Dockerfile")])
# Of later Compose, or of swarm: docker-compose 1.29 refuses the first, both pass over the second in silence.
REFUSED = {"deploy", "develop", "configs", "pull_policy", "attach", "use_api_socket", "models"}

every_service = pytest.mark.parametrize("name", sorted(SERVICES))
every_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)


def instructions(path: Path) -> list[tuple[str, str]]:
    """(INSTRUCTION, rest) of a Dockerfile, continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    split = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(word.upper(), rest.strip()) for word, _, rest in split]


def test_it_is_written_for_both_compose_v2_and_1_29() -> None:
    assert "version" not in COMPOSE
    assert {"redis", "cloud", "edge-node"} <= set(SERVICES)


@every_service
def test_a_service_uses_nothing_that_one_of_the_two_does_not_know(name: str) -> None:
    service = SERVICES[name]
    assert not REFUSED & set(service)
    assert not {"additional_contexts", "platforms", "secrets", "dockerfile_inline"} & set(service["build"])
    assert all(isinstance(item, str) for item in [*service.get("secrets", []), *service.get("volumes", [])])


@every_service
def test_a_service_has_limits_and_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"]
    assert service["cpus"]
    uid, _, gid = service["user"].partition(":")
    assert int(uid) >= 10_000
    assert int(gid) >= 10_000
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")
    assert "ports" not in service  # nothing is open to the host unless somebody asks for it


@pytest.mark.parametrize("name", LASTING)
def test_a_service_that_stays_up_says_whether_it_is_healthy(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize("name", ONE_SHOT)
def test_a_one_shot_is_judged_by_its_exit_code(name: str) -> None:
    assert SERVICES[name]["restart"] == "no"
    assert "healthcheck" not in SERVICES[name]


@every_service
def test_nobody_waits_for_a_service_that_is_not_there_or_not_in_the_profile(name: str) -> None:
    profiles = set(SERVICES[name].get("profiles", []))
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert set(SERVICES[other].get("profiles", [])) <= profiles
        wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert how["condition"] == wanted


def test_every_node_has_an_identity_of_its_own() -> None:
    for name in ("edge-node", *(name for name in SERVICES if name.startswith("edge-"))):
        volumes = SERVICES[name]["volumes"]
        assert "/var/lib/littoral" in volumes, "an anonymous volume: replicas share a named one"
        assert not any(volume.split(":")[1:2] == ["/var/lib/littoral"] for volume in volumes)
        assert "container_name" not in SERVICES[name]
        assert "hostname" not in SERVICES[name]


def test_named_volumes_are_declared_and_used() -> None:
    named = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", []) if ":" in volume}
    assert named == set(COMPOSE["volumes"])


def test_the_password_comes_from_a_file_that_is_not_committed() -> None:
    assert COMPOSE["secrets"] == {"redis_password": {"file": "./secrets/redis_password.txt"}}
    assert "secrets/" in (ROOT / ".gitignore").read_text().split()
    for service in SERVICES.values():
        environment = service.get("environment", {})
        assert not any(re.search("PASSWORD|TOKEN|SECRET", name) and not name.endswith("_FILE") for name in environment)


def test_a_node_reaches_the_coordinator_and_nothing_else_of_it() -> None:
    for name, service in SERVICES.items():
        if name.startswith("edge-"):
            assert service["networks"] == ["fleet"]
            assert "secrets" not in service
    assert COMPOSE["networks"]["state"] == {"internal": True}
    assert SERVICES["redis"]["networks"] == ["state"]


@every_service
def test_a_service_is_built_from_a_target_that_is_there(name: str) -> None:
    build = SERVICES[name]["build"]
    path = ROOT / build["dockerfile"]
    stages = [rest.split(" AS ")[1] for word, rest in instructions(path) if word == "FROM" and " AS " in rest]
    assert build.get("target") is None or build["target"] in stages


@every_dockerfile
def test_a_dockerfile_needs_no_buildkit_and_drops_root(path: Path) -> None:
    text = path.read_text()
    steps = instructions(path)
    assert not re.search(r"^# *syntax=|--mount=|--chmod=|--link|<<", text, re.MULTILINE)
    assert ("ARG", "BASE=python:3.11-slim-bookworm") in steps
    users = [rest for word, rest in steps if word == "USER"]
    assert users
    assert all(re.fullmatch(r"1000\d:1000\d", user) for user in users)
    assert not any(word == "ADD" for word, _ in steps)


@every_dockerfile
def test_what_a_dockerfile_copies_is_sent_to_the_engine(path: Path) -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for word, rest in instructions(path):
        if word == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert any(source == top or source.startswith(f"{top}/") for top in sent), source


def test_the_node_that_only_infers_has_no_torch() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    first = next(rest for word, rest in instructions(ROOT / "edge_node/Dockerfile") if "requirements.py pyproject" in rest)
    named = re.search(r"requirements\.py pyproject\.toml ([a-z -]+?) >", first)
    assert named is not None
    assert named[1].split() == ["edge", "ncnn"]
    assert not any(re.match(r"torch|flwr", line) for extra in named[1].split() for line in extras[extra])
    assert SERVICES["edge-node"]["build"]["target"] == "edge"


@pytest.mark.parametrize(
    "path",
    sorted(path for room in ("cloud", "edge_node", "tools") for path in (ROOT / room).rglob("*.sh")),
    ids=lambda path: path.name,
)
def test_scripts_can_be_run_and_stop_at_the_first_error(path: Path) -> None:
    assert path.stat().st_mode & stat.S_IXUSR
    lines = path.read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert "set -eu" in lines
