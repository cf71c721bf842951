"""The coordinator's settings. A flag overrides LITTORAL_..., which overrides the default. An unknown LITTORAL_ variable is an
error, except those of Kubernetes and Docker (littoral/environment.py).

Read without a library for settings: it cost every command a third of its start (docs/decisions/0040)."""

from __future__ import annotations

import json
import os
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any

from littoral.decoder import BadField
from littoral.environment import of_operators
from littoral.errors import BadInput
from littoral.transport import LONGEST_PROBATION_S
from littoral.type_words import nearest

PREFIX = "LITTORAL_"
NODE_PREFIX = "LITTORAL_NODE_"
_TRUTHS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def _default_data_dir() -> Path:
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "littoral" / "cloud"


def _setting(
    default: Any,
    meaning: str,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float = 0,
    one_of: tuple[str, ...] = (),
) -> Any:
    """Args:
    default: a function makes it anew.
    above, least: of a number, the one or the other, with `most`.
    one_of: of a text, all that it may be.
    """
    about = {"meaning": meaning, "above": above, "least": least, "most": most, "one_of": one_of}
    return field(default_factory=default, metadata=about) if callable(default) else field(default=default, metadata=about)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSettings:
    """Settings of the coordinator and of every littoral-cloud command."""

    data_dir: Path = _setting(
        _default_data_dir,
        "The folder of keys, blobs and the embedded Redis: littoral/cloud in XDG_STATE_HOME or ~/.local/state.",
    )
    keys_dir: Path | None = _setting(None, "The folder of ca and signing, the fleet's keys; none: the data folder.")
    ca_key_command: str | None = _setting(
        None, "The command that signs with the CA's key, where the folder ca has none: docs/keys.md; none: key.pem in the folder."
    )
    signing_key_command: str | None = _setting(
        None, "The command that signs with the signing key, where the folder signing has none; none: key.pem in the folder."
    )
    blobs: str | None = _setting(
        None, "Where blobs are, for all coordinators of a fleet: a folder, s3://BUCKET/PREFIX, gs:// or az://; none: DATA/blobs."
    )
    redis_url: str | None = _setting(
        None,
        "redis://, rediss://, unix://, redis+sentinel://HOST,HOST,HOST/SERVICE or redis+cluster://HOST,HOST of a "
        "Redis 6.2 or newer; none: the embedded one.",
    )
    redis_password_file: Path | None = _setting(None, "The file with the password for redis_url.")
    redis_replicas: int = _setting(
        0, "Replicas that must have a change of intent before it counts: it survives a failover.", least=0, most=9
    )
    host: str = _setting("127.0.0.1", "The address of both listeners for nodes.")
    enrolment_port: int = _setting(7443, "The port for enrolment, with server TLS; 0: any free port.", least=0, most=65_535)
    fleet_port: int = _setting(7444, "The port for nodes, with mutual TLS; 0: any free port.", least=0, most=65_535)
    api_host: str = _setting("127.0.0.1", "The address of the operator API and its page.")
    api_port: int = _setting(7445, "The port for operators, with server TLS; 0: any free port.", least=0, most=65_535)
    api_url: str | None = _setting(None, "The operator API that commands ask, https://HOST:PORT; none: docs/operators.md.")
    api_token_file: Path | None = _setting(
        None, "The file with the token of an operator, for commands; over the socket in the data folder it counts too."
    )
    api_ca_file: Path | None = _setting(None, "The certificate of the CA of api_url, PEM; none: the system's authorities.")
    public_names: tuple[str, ...] = _setting((), "The DNS names and addresses of this server, for nodes.")
    public_url: str = _setting(
        "", "Where browsers reach the page, like https://fleet.example.org; none: https://, the first public name, and the port."
    )
    oidc_issuer: str = _setting("", "The OpenID provider of people, like https://id.example.org; none: tokens alone.")
    oidc_client_id: str = _setting("", "What the provider calls this coordinator.")
    oidc_client_secret_file: Path | None = _setting(None, "The file with the secret that the provider gave to this coordinator.")
    oidc_roles: tuple[str, ...] = _setting((), "Which group of the provider has which role: GROUP=viewer, operator or admin.")
    oidc_groups_claim: str = _setting("groups", "The claim that names a person's groups.")
    heartbeat_interval_s: float = _setting(10.0, "Seconds between the heartbeats of a session.", above=0, most=3_600)
    telemetry_interval_s: float = _setting(10.0, "Seconds between a node's telemetry reports.", above=0, most=86_400)
    telemetry_flush_s: float = _setting(
        60.0,
        "Seconds for which reports are added up before they are written, but never more than six report intervals; "
        "0: each report is written at once. A node keeps its reports until they are written.",
        least=0,
        most=86_400,
    )
    answer_escalations: bool = _setting(False, "Answer unsure nodes by the teacher of their model.")
    keep_sample_inputs: bool = _setting(False, "Record the inputs of escalations with the samples too.")
    certificate_days: float = _setting(
        30.0, "Days that a node's certificate lasts; the node renews it after two thirds of them.", above=0, most=825
    )
    renew_grace_days: float = _setting(
        90.0,
        "Days after the end of its certificate within which a node that was away gets a new one by itself; later an operator "
        "accepts it.",
        least=0,
        most=36_500,
    )
    audit_days: int = _setting(
        0, "Days that the audit trail stays in Redis; older lines go to files. 0: all stay.", least=0, most=36_500
    )
    ended_kept: int = _setting(
        200, "Ended rollouts and runs of a model that stay; older ones go to files.", least=10, most=100_000
    )
    quarantine_failures: int = _setting(
        3, "Failed updates of different rollouts, or failed rounds, after which a node gets neither; 0: never.", least=0, most=20
    )
    quarantine_within_s: float = _setting(86_400.0, "Seconds within which these failures count.", above=0, most=31_622_400)
    quarantine_lasts_s: float = _setting(
        86_400.0, "Seconds that such a quarantine lasts; an operator may end it before.", above=0, most=31_622_400
    )
    probation_s: float = _setting(
        600.0, "Seconds of probation on each node, in rollouts that name no other time.", least=0, most=LONGEST_PROBATION_S
    )
    approval_above: float = _setting(
        1.0,
        "A rollout that could reach more than this part of the fleet needs another person's approval; 0: each does, 1: none.",
        least=0,
        most=1,
    )
    log_format: str = _setting("text", "How serve writes its log lines: text or json (JSON lines).", one_of=("text", "json"))
    auto_loop: bool = _setting(False, "Start federated runs and releases when nodes drift.")

    @property
    def keys(self) -> Path:
        """The folder that has the folders ca and signing."""
        return self.keys_dir or self.data_dir

    def __post_init__(self) -> None:
        for each in fields(self):
            value, above, least, most = getattr(self, each.name), *(each.metadata[of] for of in ("above", "least", "most"))
            if above is not None and not above < value <= most:
                raise BadField(each.name, f"{value} is not above {above:g} and at most {most:g}")
            if least is not None and not least <= value <= most:
                raise BadField(each.name, f"{value} is not from {least:g} to {most:g}")
            if (one_of := each.metadata["one_of"]) and value not in one_of:
                raise BadField(each.name, f"{value!r} is not one of {', '.join(one_of)}")


def load_settings(**flags: Any) -> CloudSettings:
    """Settings from flags that are not None, then the environment, then defaults.

    Raises BadInput, naming the setting, its value and where it came from.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    texts = _of_environment(os.environ)
    try:
        read = {name: _readers()[name](name, text) for name, text in texts.items() if name not in given}
        return CloudSettings(**read, **given)
    except BadField as error:
        raise BadInput(
            f"setting {error}", hint=f"give --{error.path.removesuffix('_s').replace('_', '-')} or set {_variable(error.path)}"
        ) from error


def to_environment(**flags: object) -> None:
    """Writes flags that are not None into the environment: our child processes read the same settings."""
    os.environ.update({PREFIX + name: str(value) for name, value in flags.items() if value is not None})


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _of_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The text of each setting that is there, by its name. Raises BadInput for an unknown one."""
    known = {_variable(each.name): each.name for each in fields(CloudSettings)}
    found = {}
    for variable, text in of_operators(environment).items():
        if not variable.startswith(PREFIX) or variable.startswith(NODE_PREFIX):
            continue
        if variable not in known:
            hint = f"{nearest(variable, list(known))}known are {', '.join(sorted(known))}"
            raise BadInput(f"environment: {variable} is not a setting", hint=hint)
        found[known[variable]] = text
    return found


# -- from the text of a variable ---------------------------------------------------------------------------------------


@cache
def _readers() -> Mapping[str, Callable[[str, str], Any]]:
    """By the name of a setting; each takes the name and the text, and raises BadField."""
    return {name: _READ[_kind(hint)] for name, hint in typing.get_type_hints(CloudSettings).items()}


def _kind(hint: Any) -> Any:
    """The type without None; the shell of a tuple."""
    if origin := typing.get_origin(hint):
        return origin if origin is tuple else next(part for part in typing.get_args(hint) if part is not NoneType)
    return hint


def _number(kind: Callable[[str], float], what: str) -> Callable[[str, str], float]:
    def read(name: str, text: str) -> float:
        try:
            return kind(text)
        except ValueError as error:
            raise BadField(name, f"{text!r} is not {what}") from error

    return read


def _truth(name: str, text: str) -> bool:
    if text.strip().lower() not in _TRUTHS:
        raise BadField(name, f"{text!r} is neither true nor false")
    return _TRUTHS[text.strip().lower()]


def _texts(name: str, text: str) -> tuple[str, ...]:
    """A JSON list, or words with commas between them."""
    if not text.strip().startswith("["):
        return tuple(word.strip() for word in text.split(",") if word.strip())
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BadField(name, f"{text!r} is not a JSON list: {error}") from error
    if not all(isinstance(part, str) for part in found):
        raise BadField(name, f"{text!r} must hold texts alone")
    return tuple(found)


_READ: Mapping[Any, Callable[[str, str], Any]] = {
    str: lambda _, text: text,
    Path: lambda _, text: Path(text),
    int: _number(int, "a whole number"),
    float: _number(float, "a number"),
    bool: _truth,
    tuple: _texts,
}
