"""The coordinator's settings. A flag overrides LITTORAL_..., which overrides the default. An unknown LITTORAL_ variable is an
error, except those of Kubernetes and Docker (littoral/environment.py)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from littoral.environment import of_operators
from littoral.errors import BadInput

PREFIX = "LITTORAL_"
NODE_PREFIX = "LITTORAL_NODE_"


def _default_data_dir() -> Path:
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "littoral" / "cloud"


class CloudSettings(BaseSettings):
    """Settings of the coordinator and of every littoral-cloud command."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        assert isinstance(env_settings, EnvSettingsSource)
        env_settings.env_vars = of_operators({k: v for k, v in env_settings.env_vars.items() if v is not None})
        return init_settings, env_settings

    data_dir: Path = Field(
        default_factory=_default_data_dir,
        description="The folder of keys, blobs and the embedded Redis: littoral/cloud in XDG_STATE_HOME or ~/.local/state.",
    )
    redis_url: str | None = Field(
        default=None,
        description="redis://, rediss://, unix:// or redis+sentinel://HOST,HOST,HOST/SERVICE of a Redis 6.2 or newer; "
        "none: the embedded one.",
    )
    redis_password_file: Path | None = Field(default=None, description="The file with the password for redis_url.")
    redis_replicas: int = Field(
        default=0, ge=0, le=9, description="Replicas that must have a change of intent before it counts: it survives a failover."
    )
    host: str = Field(default="127.0.0.1", description="The address of both listeners.")
    enrolment_port: int = Field(
        default=7443, ge=0, le=65535, description="The port for enrolment, with server TLS; 0: any free port."
    )
    fleet_port: int = Field(default=7444, ge=0, le=65535, description="The port for nodes, with mutual TLS; 0: any free port.")
    public_names: tuple[str, ...] = Field(default=(), description="The DNS names and addresses of this server, for nodes.")
    heartbeat_interval_s: float = Field(default=10.0, gt=0, le=3_600, description="Seconds between the heartbeats of a session.")
    telemetry_interval_s: float = Field(default=10.0, gt=0, le=86_400, description="Seconds between a node's telemetry reports.")
    telemetry_flush_s: float = Field(
        default=60.0,
        ge=0,
        le=86_400,
        description="Seconds for which reports are added up before they are written, but never more than six report intervals; "
        "0: each report is written at once. A node keeps its reports until they are written.",
    )
    answer_escalations: bool = Field(default=False, description="Answer unsure nodes by the teacher of their model.")
    keep_sample_inputs: bool = Field(default=False, description="Record the inputs of escalations with the samples too.")
    audit_days: int = Field(
        default=0, ge=0, le=36_500, description="Days that the audit trail stays in Redis; older lines go to files. 0: all stay."
    )
    ended_kept: int = Field(
        default=200, ge=10, le=100_000, description="Ended rollouts and runs of a model that stay; older ones go to files."
    )
    auto_loop: bool = Field(default=False, description="Start federated runs and releases when nodes drift.")


def load_settings(**flags: Any) -> CloudSettings:
    """Settings from flags that are not None, then the environment, then defaults.

    Raises BadInput, naming the setting, its value and where it came from.
    """
    _refuse_unknown(of_operators(os.environ))
    try:
        return CloudSettings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise BadInput(
            f"setting {name}: {first.get('input')!r}: {first['msg']}",
            hint=f"give --{name.removesuffix('_s').replace('_', '-')} or set {PREFIX}{name.upper()}",
        ) from error


def to_environment(**flags: object) -> None:
    """Writes flags that are not None into the environment: our child processes read the same settings."""
    os.environ.update({PREFIX + name: str(value) for name, value in flags.items() if value is not None})


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = {PREFIX + name.upper() for name in CloudSettings.model_fields}
    for name in environment:
        if name.startswith(PREFIX) and not name.startswith(NODE_PREFIX) and name not in known:
            raise BadInput(f"environment: {name} is not a setting", hint=f"known are {', '.join(sorted(known))}")
