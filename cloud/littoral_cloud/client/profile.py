"""What `littoral-cloud login` writes: where the fleet is, and the token for it. One file, which only its owner can read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from littoral import decoder, json_text
from littoral.errors import BadInput
from littoral_cloud.trust.files import write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginProfile:
    """`url` has no path: https://fleet.example.org:7445. `ca_pem`: the fleet's own CA; "": the system's."""

    url: str
    token: str
    ca_pem: str = ""


def profile_path() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "littoral" / "profile.json"


def active_profile() -> LoginProfile | None:
    """None: this user is logged in nowhere. Raises BadInput where the file is damaged."""
    path = profile_path()
    try:
        return decoder.decode(LoginProfile, json_text.parse(path.read_bytes(), "it"), "it")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except BadInput as error:
        raise BadInput(f"{path}: is damaged: {error.message}", hint="littoral-cloud login URL writes it again") from error


def checked_url(url: str, field: str) -> str:
    """Without a slash at its end. Raises BadInput where it is no address of a coordinator."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise BadInput(f"{field}: {url[:200]!r} is no address of a coordinator", hint="like https://fleet.example.org:7445")
    return url.rstrip("/")


def remove_profile() -> bool:
    """Whether there was one."""
    try:
        profile_path().unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def write_profile(profile: LoginProfile) -> Path:
    path = profile_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(profile)).encode() + b"\n", private=True)
    return path
