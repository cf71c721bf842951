"""What a listener asks of callers from elsewhere, and the certificate that it shows them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from littoral.errors import BadInput
from littoral.transport import is_loopback
from littoral_node.config.settings import load_settings
from littoral_node.serving.access import Access, NoToken, access_of
from littoral_node.serving.front import Front
from littoral_node.serving.service import Forbidden, Service
from littoral_node.serving.slots import Slots
from littoral_node.serving.tls import CERTIFICATE, KEY, tls_of
from littoral_node.telemetry.counting import TelemetryWindows
from tests.kit.certificates import Authority

NOW = 1_800_000_000.0
TOKEN = "0123456789abcdef"


def token_file(folder: Path, text: str = TOKEN, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_loopback_is_known_by_its_addresses() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "gateway", "localhost.example")))


def test_on_loopback_anybody_may_do_anything(tmp_path: Path) -> None:
    access = access_of("127.0.0.1", "--http 127.0.0.1", token_file(tmp_path), allow_load=False)
    access.check(None)
    access.check_repository()


def test_from_elsewhere_the_token_is_asked_for_and_models_stay_where_they_are(tmp_path: Path) -> None:
    access = access_of("0.0.0.0", "--http 0.0.0.0", token_file(tmp_path, TOKEN + "\n"), allow_load=False)
    access.check(f"Bearer {TOKEN}")
    for wrong in (None, "", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer t\u00f6ken"):
        with pytest.raises(NoToken):
            access.check(wrong)
    with pytest.raises(Forbidden, match="--allow-load on"):
        access.check_repository()
    access_of("0.0.0.0", "--http 0.0.0.0", token_file(tmp_path), allow_load=True).check_repository()
    assert Access().token is None


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("short", 0o600, "at least 16"),
        ("two words that are long", 0o600, "one word"),
        (TOKEN, 0o644, "chmod 600"),
        ("", 0o600, "at least 16"),
    ],
)
def test_a_token_that_protects_nothing_is_refused(text: str, mode: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        access_of("::", "--grpc ::", token_file(tmp_path, text, mode), allow_load=False)


def test_without_a_token_the_setting_and_the_way_out_are_named(tmp_path: Path) -> None:
    for given, said in ((None, r"--grpc 0.0.0.0: .*token-file.*--token-file FILE"), (tmp_path / "nothing", "cannot be read")):
        with pytest.raises(BadInput, match=said):
            access_of("0.0.0.0", "--grpc 0.0.0.0", given, allow_load=False)
    settings = load_settings(tmp_path, {"http": "127.0.0.1:0", "grpc": "0.0.0.0:0"}, {})
    with pytest.raises(BadInput, match=r"--grpc 0\.0\.0\.0"):
        Front(Service(Slots(), TelemetryWindows()), settings, tmp_path, print, now=NOW)
    assert not (tmp_path / KEY).exists()


def test_a_certificate_is_made_once_and_again_when_it_has_expired(tmp_path: Path) -> None:
    made = tls_of(tmp_path, ("0.0.0.0", "gateway.example", "192.168.1.2"), now=NOW)
    assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600
    certificate = x509.load_pem_x509_certificate((tmp_path / CERTIFICATE).read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "gateway.example"} <= set(names.get_values_for_type(x509.DNSName))
    assert {"127.0.0.1", "192.168.1.2"} <= set(map(str, names.get_values_for_type(x509.IPAddress)))
    assert made.fingerprint == certificate.fingerprint(hashes.SHA256()).hex()
    again = tls_of(tmp_path, ("0.0.0.0",), now=NOW + 9 * 365 * 86_400)
    assert again.fingerprint == made.fingerprint
    assert tls_of(tmp_path, (), now=NOW + 11 * 365 * 86_400).fingerprint != made.fingerprint


@pytest.mark.parametrize("file", [CERTIFICATE, KEY])
@pytest.mark.parametrize("damage", ["cut", "zeroed", "missing", "turned"])
def test_a_certificate_of_its_own_that_the_disk_damaged_is_made_anew_and_named(tmp_path: Path, file: str, damage: str) -> None:
    made = tls_of(tmp_path, ("127.0.0.1",), now=NOW)
    place, named = tmp_path / file, []
    data = bytearray(place.read_bytes())
    match damage:
        case "cut":
            place.write_bytes(data[: len(data) // 2])
        case "zeroed":
            place.write_bytes(bytes(len(data)))
        case "missing":
            place.unlink()
        case "turned":
            data[len(data) // 2] ^= 1
            place.write_bytes(data)
    found = tls_of(tmp_path, ("127.0.0.1",), now=NOW, damaged=lambda path, why: named.append(path.name))
    assert found.fingerprint != made.fingerprint
    assert named == [CERTIFICATE]
    assert tls_of(tmp_path, ("127.0.0.1",), now=NOW).fingerprint == found.fingerprint


def test_a_given_certificate_is_used_and_what_is_none_is_refused(tmp_path: Path) -> None:
    credential, other = Authority().issue("gateway", server=True), Authority().issue("other")
    certificate, key, wrong = tmp_path / "c.pem", tmp_path / "k.pem", tmp_path / "w.pem"
    certificate.write_bytes(credential.certificate)
    key.write_bytes(credential.key)
    wrong.write_bytes(other.key)
    found = tls_of(tmp_path, (), (certificate, key), now=NOW)
    assert found.fingerprint == credential.sha256
    assert isinstance(found.context(), ssl.SSLContext)
    assert not (tmp_path / KEY).exists()
    for pair, said in (
        ((certificate, wrong), "its key"),
        ((key, certificate), "its key"),
        ((tmp_path / "nothing", key), "its key"),
    ):
        with pytest.raises(BadInput, match=said):
            tls_of(tmp_path, (), pair, now=NOW)
