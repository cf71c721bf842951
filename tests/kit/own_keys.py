"""Keys that an operator has elsewhere: behind an openssl command, in a SoftHSM, or certified by a root of their own."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")


def run(*words: str | Path, given: bytes = b"", environment: dict[str, str] | None = None) -> bytes:
    done = subprocess.run(
        [str(word) for word in words], input=given, capture_output=True, env={**os.environ, **(environment or {})}, check=False
    )
    assert done.returncode == 0, (words, done.stderr.decode())
    return done.stdout


def script_in(folder: Path, name: str, *lines: str) -> Path:
    place = folder / name
    place.write_text("\n".join(("#!/bin/sh", "set -e", *lines)) + "\n")
    place.chmod(0o755)
    return place


@dataclass(frozen=True, slots=True)
class KeyElsewhere:
    """`command`: for the setting; `public`: PEM."""

    command: str
    public: Path


def openssl_ec(folder: Path, name: str = "ca") -> KeyElsewhere:
    key, public = folder / f"{name}.key", folder / f"{name}.pub"
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    run("openssl", "pkey", "-in", key, "-pubout", "-out", public)
    return KeyElsewhere(f"openssl dgst -sha256 -sign '{key}'", public)


def openssl_ed25519(folder: Path, name: str = "sign") -> KeyElsewhere:
    """openssl 3.0 signs Ed25519 from a file alone; its script prints base64, as cloud services do."""
    key, public = folder / f"{name}.key", folder / f"{name}.pub"
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", key)
    run("openssl", "pkey", "-in", key, "-pubout", "-out", public)
    data = folder / f"{name}.data"
    sign = script_in(
        folder,
        f"{name}.sh",
        f"cat > {data}.$$",
        f"openssl pkeyutl -sign -rawin -inkey {key} -in {data}.$$ | base64",
        f"rm {data}.$$",
    )
    return KeyElsewhere(str(sign), public)


@dataclass(frozen=True, slots=True)
class OwnRoot:
    """An RSA root of an operator, as openssl makes it."""

    folder: Path
    key: Path
    certificate: Path

    @classmethod
    def made(cls, folder: Path, name: str = "root") -> OwnRoot:
        key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
        subject = ("-subj", f"/O=Example/CN={name}", "-days", "3650", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *subject)
        return cls(folder, key, certificate)

    def signs(self, name: str, *extensions: str) -> tuple[Path, Path]:
        """(chain, key) of an intermediate."""
        key, request, certificate, chain = (self.folder / f"{name}{end}" for end in (".key", ".csr", ".pem", "-chain.pem"))
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        run("openssl", "req", "-new", "-key", key, "-subj", f"/O=Example/CN={name}", "-out", request)
        wanted = extensions or ("basicConstraints=critical,CA:TRUE,pathlen:0", "keyUsage=critical,keyCertSign,cRLSign")
        (self.folder / f"{name}.ext").write_text(
            "\n".join(("subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid", *wanted))
        )
        by: Sequence[str | Path] = ("-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", "1825")
        run("openssl", "x509", "-req", "-in", request, *by, "-extfile", self.folder / f"{name}.ext", "-out", certificate)
        chain.write_bytes(certificate.read_bytes() + self.certificate.read_bytes())
        return chain, key


class SoftHsm:
    """A token with a PIN, and a key of each kind; pkcs11-tool signs."""

    def __init__(self, folder: Path) -> None:
        (folder / "tokens").mkdir(parents=True)
        configuration = folder / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
        self._folder = folder
        self._environment = {"SOFTHSM2_CONF": str(configuration)}
        pins = ("--label", "t", "--pin", "1234", "--so-pin", "1234")
        run("softhsm2-util", "--init-token", "--free", *pins, environment=self._environment)
        self._tool = ("pkcs11-tool", "--module", str(SOFTHSM), "--token-label", "t", "--login", "--pin", "1234")

    def _point(self, kind: str, id: str, size: int) -> bytes:
        """The public point of a new key pair: what is behind the tag and the length (`size`) of its OCTET STRING. The PEM that
        opensc 0.23 writes of an Ed25519 key is wrong."""
        run(*self._tool, "--keypairgen", "--key-type", kind, "--id", id, "--label", id, environment=self._environment)
        listed = run(*self._tool, "--list-objects", "--type", "pubkey", environment=self._environment).decode()
        return bytes.fromhex(re.findall(rf"EC_POINT: +04{size:02x}([0-9a-f]+)", listed)[0])

    def ec(self) -> KeyElsewhere:
        """The token signs a digest and prints r and s."""
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self._point("EC:prime256v1", "01", 65))
        line = f"openssl dgst -sha256 -binary | {' '.join(self._tool)} --sign --mechanism ECDSA --id 01"
        return self._elsewhere("ec", line, key)

    def ed25519(self) -> KeyElsewhere:
        key = Ed25519PublicKey.from_public_bytes(self._point("EC:edwards25519", "02", 32))
        return self._elsewhere("ed25519", f"{' '.join(self._tool)} --sign --mechanism EDDSA --id 02", key)

    def _elsewhere(self, name: str, line: str, key: ec.EllipticCurvePublicKey | Ed25519PublicKey) -> KeyElsewhere:
        public = self._folder / f"{name}.pub"
        public.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        sign = script_in(self._folder, f"{name}.sh", f"export SOFTHSM2_CONF={self._environment['SOFTHSM2_CONF']}", line)
        return KeyElsewhere(str(sign), public)
