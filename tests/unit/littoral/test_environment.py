"""What Kubernetes and Docker put into every container is no setting of ours; a mistyped variable still is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral.environment import of_operators
from littoral.errors import BadInput
from littoral_cloud.settings import load_settings as cloud_settings
from littoral_node.config.settings import load_settings as node_settings


def services(*names: str) -> dict[str, str]:
    """What a pod sees of services called so, each with a named port 7443."""
    seen = {}
    for name in names:
        seen |= {
            f"{name}_SERVICE_HOST": "10.96.0.12",
            f"{name}_SERVICE_PORT": "7443",
            f"{name}_SERVICE_PORT_GRPC_TLS": "7443",
            f"{name}_PORT": "tcp://10.96.0.12:7443",
            f"{name}_PORT_7443_TCP": "tcp://10.96.0.12:7443",
            f"{name}_PORT_7443_TCP_PROTO": "tcp",
            f"{name}_PORT_7443_TCP_PORT": "7443",
            f"{name}_PORT_7443_TCP_ADDR": "10.96.0.12",
            f"{name}_PORT_53_UDP_ADDR": "10.96.0.12",
        }
    return seen


LINK = {
    "LITTORAL_NAME": "/agent/littoral",
    "LITTORAL_ENV_DATA_DIR": "/data",
    "LITTORAL_PORT_7000_TCP_START": "tcp://1.2.3.4:7000",
}
CLOUD = services("LITTORAL", "LITTORAL_CLOUD", "LITTORAL_FLEET", "LITTORAL_ENROLMENT", "LITTORAL_REDIS") | LINK
NODE = services("LITTORAL_NODE", "LITTORAL_NODE_HTTP", "LITTORAL_NODE_7") | {"LITTORAL_NODE_NAME": "/agent/littoral-node"}


def test_services_of_our_names_are_passed_over_by_the_coordinator(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (CLOUD | NODE | {"LITTORAL_HOST": "0.0.0.0"}).items():
        monkeypatch.setenv(name, value)
    settings = cloud_settings()
    assert (settings.enrolment_port, settings.fleet_port, settings.host) == (7443, 7444, "0.0.0.0")


def test_services_of_our_names_are_passed_over_by_a_node(tmp_path: Path) -> None:
    assert node_settings(tmp_path, {}, CLOUD | NODE) == node_settings(tmp_path, {}, {})
    assert of_operators(CLOUD | NODE | {"LITTORAL_NODE_THREADS": "2", "HOME": "/root"}) == {
        "LITTORAL_NODE_THREADS": "2",
        "HOME": "/root",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LITTORAL_PORT", "7443"),
        ("LITTORAL_FLEET_PROT", "7443"),
        ("LITTORAL_SERVICE", "x"),
        ("LITTORAL_ENV_X", "1"),  # of no link
        ("LITTORAL_NAME", "gateway"),
        ("LITTORAL_PORT_X_TCP", "1"),
    ],
)
def test_a_mistyped_variable_is_still_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=f"{name} is not a setting"):
        cloud_settings()
    ours = name.replace("LITTORAL_", "LITTORAL_NODE_")
    if name != "LITTORAL_NAME":  # a node has a name
        with pytest.raises(BadInput, match=f"'{ours}' is not a setting"):
            node_settings(tmp_path, {}, {ours: value})


def test_a_setting_that_is_no_address_is_still_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITTORAL_FLEET_PORT", "tcp")
    with pytest.raises(BadInput, match="fleet_port: 'tcp'"):
        cloud_settings()
