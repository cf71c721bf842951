from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from littoral.errors import BadInput, Untrusted
from littoral.identity import certificate_request, new_node_key, seal, sha256_fingerprint, unseal
from littoral_cloud.trust.ca import BACKDATE_S, DAY_S, CertificateAuthority, open_ca, read_request
from littoral_cloud.trust.store import open_trust

NOW = 1_800_000_000.0


@pytest.fixture
def ca(tmp_path: Path) -> CertificateAuthority:
    return open_ca(tmp_path / "ca", NOW)


def request(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, name: str = "anything") -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm).public_bytes(Encoding.DER)


def test_keys_are_made_once_and_only_we_can_read_them(tmp_path: Path) -> None:
    first, second = open_trust(tmp_path, NOW), open_trust(tmp_path, NOW + 1)
    assert first.ca.fingerprint == second.ca.fingerprint
    assert first.signing_keys() == second.signing_keys()
    for file in (tmp_path / "ca" / "key.pem", tmp_path / "signing" / "key.pem"):
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca", "signing"]


def test_two_who_start_at_the_same_moment_get_the_same_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: open_trust(tmp_path, NOW), range(8)))
    assert len({trust.ca.fingerprint for trust in opened}) == 1
    assert len({key for trust in opened for key in trust.signing_keys()}) == 1


def test_a_manifest_signed_here_is_believed_by_who_was_told_the_keys(tmp_path: Path) -> None:
    trust = open_trust(tmp_path, NOW)
    assert unseal(seal(b"{}", "t", trust.signing_key), "t", trust.signing_keys()) == b"{}"


def test_a_node_is_named_by_us_whatever_its_request_says(ca: CertificateAuthority) -> None:
    key = new_node_key()
    issued = ca.issue_node(request(key, "root"), "n1", NOW)
    certificate = x509.load_der_x509_certificate(issued.der)
    assert [a.value for a in certificate.subject] == ["n1"]
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(ca.certificate)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_before_utc.timestamp() == NOW - BACKDATE_S
    assert certificate.not_valid_after_utc.timestamp() == issued.expires_at == NOW + 30 * DAY_S
    assert issued.sha256 == sha256_fingerprint(issued.der)


def test_a_server_is_found_by_its_public_names_and_on_this_machine(ca: CertificateAuthority) -> None:
    identity = ca.issue_server(("fleet.example", "192.0.2.7", "localhost"), NOW)
    leaf, root = x509.load_pem_x509_certificates(identity.chain_pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"fleet.example", "localhost"}
    assert set(names.get_values_for_type(x509.IPAddress)) == {ipaddress.ip_address(a) for a in ("192.0.2.7", "127.0.0.1", "::1")}
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH], "a node's certificate is no server's, nor the other way round"
    assert sha256_fingerprint(root.public_bytes(Encoding.DER)) == ca.fingerprint
    leaf.verify_directly_issued_by(root)


@pytest.mark.parametrize("name", ["https://fleet.example", "fleet.example:7443", "", "two words", "büro.example", "a@b"])
def test_what_is_no_name_is_refused(ca: CertificateAuthority, name: str) -> None:
    with pytest.raises(BadInput, match="public_names"):
        ca.issue_server((name,), NOW)


def test_requests_with_another_kind_of_key_are_refused() -> None:
    for key in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(BadInput, match="P-256"):
            read_request(request(key))


def test_a_request_that_its_key_did_not_sign_is_refused() -> None:
    mine, other = certificate_request(new_node_key()), certificate_request(new_node_key())
    signature_of_another = mine[: -len(other) // 3] + other[-len(other) // 3 :]
    with pytest.raises(BadInput, match="certificate_request"):
        read_request(signature_of_another)
    flipped = bytearray(mine)
    flipped[-1] ^= 1
    with pytest.raises(BadInput, match="not signed by its own key"):
        read_request(bytes(flipped))


@given(st.binary(max_size=300))
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match="certificate_request"):
        read_request(data)


KEY = new_node_key()
REQUEST = certificate_request(KEY)


@given(at=st.integers(0, len(REQUEST) - 1), bit=st.integers(0, 7))
def test_a_request_with_a_flipped_bit_names_no_other_key(at: int, bit: int) -> None:
    flipped = bytearray(REQUEST)
    flipped[at] ^= 1 << bit
    try:
        found = read_request(bytes(flipped))
    except BadInput:
        return
    assert found == KEY.public_key(), "one bit says how many bits of the signature's last byte count; it is not signed"


def test_a_request_of_unreasonable_size_is_not_even_parsed() -> None:
    with pytest.raises(BadInput, match="bytes is over"):
        read_request(b"0" * 100_000)


def test_nothing_outlives_the_root_and_an_expired_root_issues_nothing(ca: CertificateAuthority) -> None:
    csr = certificate_request(new_node_key())
    assert ca.issue_node(csr, "n1", ca.expires_at - DAY_S).expires_at == ca.expires_at
    with pytest.raises(Untrusted, match="expired"):
        ca.issue_node(csr, "n1", ca.expires_at)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(days=st.integers(1, 10_000), now=st.floats(NOW, NOW + 9 * 365 * DAY_S))
def test_the_expiry_that_we_write_down_is_that_of_the_certificate(ca: CertificateAuthority, days: int, now: float) -> None:
    issued = ca.issue_node(REQUEST, "n1", now, days)
    assert x509.load_der_x509_certificate(issued.der).not_valid_after_utc.timestamp() == issued.expires_at <= ca.expires_at


@pytest.mark.parametrize("file", ["ca/key.pem", "ca/ca.pem", "signing/key.pem"])
@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_damaged_keys_are_named_and_never_made_anew(tmp_path: Path, file: str, damage: str) -> None:
    open_trust(tmp_path, NOW)
    path = tmp_path / file
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:60])
    else:
        open_trust(tmp_path / "other", NOW)
        source = "signing/key.pem" if file == "ca/key.pem" else "ca/key.pem" if file == "signing/key.pem" else "ca/ca.pem"
        path.write_bytes((tmp_path / "other" / source).read_bytes())
    with pytest.raises(Untrusted, match=str(path.parent)) as told:
        open_trust(tmp_path, NOW)
    assert "backup" in told.value.hint


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    open_trust(tmp_path, NOW)
    (tmp_path / "ca" / "key.pem").chmod(0o644)
    with pytest.raises(Untrusted, match="0644") as told:
        open_trust(tmp_path, NOW)
    assert "chmod 600" in told.value.hint


def test_where_no_key_can_be_written_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="cannot be written: Not a directory"):
        open_trust(tmp_path / "file", NOW)
