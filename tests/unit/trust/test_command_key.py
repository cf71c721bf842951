"""A command that signs: in which forms it may answer, and how it fails. Real processes."""

from __future__ import annotations

import base64
import copy
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from littoral.errors import BadInput, Untrusted
from littoral.process.command import CommandFailed
from littoral.process.once import run_once
from littoral_cloud.trust.ca import open_ca
from littoral_cloud.trust.command_key import CommandEcKey, CommandEd25519Key, KeyCommand, public_key_in
from littoral_cloud.trust.signing import open_signing_key

SETTING = "LITTORAL_SIGNING_KEY_COMMAND"
KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
EC = ec.generate_private_key(ec.SECP256R1())
ECDSA = ec.ECDSA(hashes.SHA256())


def printing(folder: Path, printed: bytes) -> KeyCommand:
    (folder / "printed").write_bytes(printed)
    return KeyCommand(SETTING, ("cat", str(folder / "printed")))


def raw(signature: bytes) -> bytes:
    r, s = decode_dss_signature(signature)
    return r.to_bytes(32) + s.to_bytes(32)


@pytest.mark.parametrize("form", [bytes, base64.b64encode, base64.encodebytes])
def test_the_forms_of_a_signature(tmp_path: Path, form) -> None:  # type: ignore[no-untyped-def]
    signature = KEY.sign(b"data")
    assert CommandEd25519Key(KEY.public_key(), printing(tmp_path, form(signature))).sign(b"data") == signature
    signature = EC.sign(b"data", ECDSA)
    for printed in (signature, raw(signature)):
        assert CommandEcKey(EC.public_key(), printing(tmp_path, form(printed))).sign(b"data", ECDSA) == signature


@pytest.mark.parametrize(
    "printed",
    [b"", b"no", b"\x00" * 64, OTHER.sign(b"data"), KEY.sign(b"other data")],
    ids=["nothing", "words", "zeros", "another key's", "of other data"],  # keys differ in each of pytest's processes
)
def test_what_is_no_signature_by_that_key_is_found_at_once(tmp_path: Path, printed: bytes) -> None:
    command = printing(tmp_path, printed)
    with pytest.raises(CommandFailed, match=f"{SETTING}: what it printed is no signature by that key"):
        CommandEd25519Key(KEY.public_key(), command).sign(b"data")
    with pytest.raises(CommandFailed, match=f"{SETTING}: what it printed is no signature by that key"):
        CommandEcKey(EC.public_key(), command).sign(b"data", ECDSA)


def test_the_command_reads_the_bytes_and_its_arguments_name_the_key_without_a_shell(tmp_path: Path) -> None:
    write = f"pathlib.Path({str(tmp_path / 'seen')!r}).write_bytes"
    script = f"import sys, pathlib; {write}(sys.stdin.buffer.read() + sys.argv[1].encode())"
    command = KeyCommand.of(SETTING, f"'{sys.executable}' -c \"{script}\" '{{key}} $HOME; id'")
    assert command is not None
    with pytest.raises(CommandFailed):
        CommandEd25519Key(KEY.public_key(), command).sign(b"the bytes ")
    seen = (tmp_path / "seen").read_bytes()
    assert seen.startswith(b"the bytes ")
    assert seen.endswith(b" $HOME; id")


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("/no/such/program",), "'/no/such/program' is no program that can be run"),
        ((sys.executable, "-c", "import sys; sys.exit('the token is locked')"), "ended with exit code 1: the token is locked"),
        ((sys.executable, "-c", "print('x' * 5000)"), "printed 5001 bytes, at most 4096 are a signature"),
        (("sleep", "60"), r"gave no answer in 0\.2 s"),
        (("sh", "-c", "sleep 60 & sleep 60"), r"gave no answer in 0\.2 s"),
    ],
)
def test_a_command_that_fails_is_named_with_the_way_out(words: tuple[str, ...], wrong: str) -> None:
    limit_s = 0.2 if "sleep" in words[-1] or words[0] == "sleep" else 30.0
    with pytest.raises(CommandFailed, match=f"{SETTING}: {wrong}") as told:
        KeyCommand(SETTING, words, limit_s).signature_of(b"data", "ab" * 32)
    assert told.value.hint.startswith("run it by hand with some bytes on stdin: ")


def test_a_command_that_does_not_read_its_input_may_still_answer() -> None:
    assert run_once("x", ("printf", "done"), b"z" * 1_000_000, limit_s=30.0, most_bytes=10) == b"done"


@pytest.mark.parametrize(("text", "wrong"), [("'open", "No closing quotation"), ("  ", "names no program")])
def test_a_setting_that_is_no_command_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(BadInput, match=f"{SETTING}: {wrong}"):
        KeyCommand.of(SETTING, text)
    assert KeyCommand.of(SETTING, None) is None


def test_a_key_behind_a_command_never_leaves_it(tmp_path: Path) -> None:
    command = printing(tmp_path, b"")
    for key in (CommandEd25519Key(KEY.public_key(), command), CommandEcKey(EC.public_key(), command)):
        assert copy.deepcopy(key) is copy.copy(key) is key
        with pytest.raises(TypeError, match="cannot leave its command"):
            key.private_bytes()


def test_a_folder_without_its_public_part_makes_no_key_of_its_own(tmp_path: Path) -> None:
    command = printing(tmp_path, b"")
    with pytest.raises(Untrusted, match=f"ca is not there, and {SETTING} names a command") as told:
        open_ca(tmp_path / "ca", 0.0, command)
    assert "littoral-cloud fleet init-ca --public-key" in told.value.hint
    with pytest.raises(Untrusted, match=f"signing is not there, and {SETTING} names a command"):
        open_signing_key(tmp_path / "signing", command)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["printed"]


def test_a_public_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "public.pem"
    for content, wrong in (
        (b"no", "is no public key"),
        (
            ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "is neither ECDSA P-256 nor Ed25519",
        ),
    ):
        place.write_bytes(content)
        with pytest.raises(Untrusted, match=wrong):
            public_key_in(place)
