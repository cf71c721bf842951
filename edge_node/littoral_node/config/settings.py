"""The agent's settings. A flag beats LITTORAL_NODE_..., which beats DIR/node.toml, which beats the default.

An unknown variable or key is never ignored: it is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from littoral.budget import Budget
from littoral.environment import of_operators
from littoral.errors import BadInput
from littoral.quota import REQUESTS, NodeLimits, check_quotas
from littoral.transport import is_loopback, split_address
from littoral_node.config import values
from littoral_node.machine.time_zone import time_zone
from littoral_node.runtimes.using import SAFE

PREFIX = "LITTORAL_NODE_"
_NOT_A_SETTING = {"JOIN", "NAME", "DATA"}  # of `enroll` and of every command: where the folder is cannot stand inside it


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Settings of `littoral-node run`; descriptions.py says what each means. Sizes are bytes, times seconds; None: no limit."""

    budget: Budget = field(default_factory=Budget)
    runtimes: tuple[str, ...] = ()  # empty: every one that this machine has
    http_host: str = "127.0.0.1"
    http_port: int = 8080  # 0: any free port
    grpc: tuple[str, int] | None = ("127.0.0.1", 8081)  # None: no gRPC; unset: the port after HTTP's
    grpc_is_set: bool = False  # `grpc` was set
    batch: int = 32  # examples of several requests in one run; 1: never together
    token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_load: bool = False
    labelled: Path | None = None
    measure_lock: Path | None = None
    max_download_rate: float | None = None  # a second
    keep_free: int = 16_000_000
    threads: int = 1  # of one inference: on a small model a second one costs more time than it saves
    providers: tuple[str, ...] = SAFE  # in this order; the CPU is always the last
    inference_limit: float = 30.0
    on_battery_low: Budget = field(default_factory=Budget)  # takes the place of the same limits of `budget` while that holds
    on_battery: Budget = field(default_factory=Budget)
    on_hot: Budget = field(default_factory=Budget)
    on_metered: Budget = field(default_factory=Budget)
    battery_low: float = 20.0  # percent
    hot_at: float | None = None  # degrees Celsius; None: where the kernel says so
    metered: bool | None = None  # None: ask the machine
    machine_root: Path = Path("/")  # below which the machine's /sys, /proc, /dev and /run lie
    budgets: Mapping[str, Budget] = field(default_factory=dict)  # by model: each replaces `budget`, and gives the quota
    memory: int | None = None
    disk: int | None = None
    requests: int = REQUESTS
    defer: tuple[str, ...] = ("battery_low", "busy", "training")  # what an update is put off for
    update_window: str = ""  # as littoral.maintenance reads it; "": at any time
    time_zone: str = ""  # "": the machine's
    offload: Mapping[str, float] = field(default_factory=dict)  # by model: below this confidence the teacher is asked
    offload_per_minute: int = 10  # questions
    offload_bytes_per_day: int = 5_000_000
    offload_deadline: float = 1.0  # seconds, after which the node's own answer is given
    offload_on_metered: bool = False
    offload_samples: int = 1_000_000  # bytes on the disk
    offload_keep_inputs: bool = False

    def overlays(self) -> dict[str, Budget]:
        """By condition of littoral_node.machine.conditions, its overlay of the budget; only conditions that have one."""
        given = {
            "battery_low": self.on_battery_low,
            "on_battery": self.on_battery,
            "hot": self.on_hot,
            "metered": self.on_metered,
        }
        return {name: budget for name, budget in given.items() if budget != Budget()}

    @property
    def tls(self) -> tuple[Path, Path] | None:
        """Certificate and key, where they are set."""
        return (self.tls_cert, self.tls_key) if self.tls_cert is not None and self.tls_key is not None else None

    @property
    def window(self) -> tuple[str, str]:
        """When the node takes updates, and the name of its time zone, as the cloud gets them."""
        return self.update_window, time_zone(self.machine_root, self.time_zone)

    @property
    def limits(self) -> NodeLimits:
        return NodeLimits(self.memory, self.disk, self.requests)

    def node_budgets(self) -> dict[str, Budget]:
        """By model name, as the cloud gets them: `runtimes` narrows them; "" for the models that are not named."""
        budgets = {"": self.budget, **self.budgets}
        return {name: replace(budget, runtimes=budget.runtimes or self.runtimes) for name, budget in budgets.items()}


_YES_NO = values.one_of({"yes": True, "no": False})

_READ: Mapping[str, Callable[[str, str], Any]] = {
    "budget": values.limits,
    "runtimes": values.runtimes,
    "http": split_address,
    "grpc": values.address_or_off,
    "batch": values.whole_number(256, hint="1: requests are never put together"),
    "token_file": values.path_to,
    "tls_cert": values.path_to,
    "tls_key": values.path_to,
    "allow_load": values.one_of({"on": True, "off": False}),
    "labelled": values.folder,
    "measure_lock": values.lock_file,
    "max_download_rate": values.rate,
    "keep_free": values.parse_size,
    "threads": values.whole_number(256, hint="leave it out for 1, which a small model is fastest with"),
    "inference_limit": values.seconds,
    "on_battery_low": values.limits,
    "on_battery": values.limits,
    "on_hot": values.limits,
    "on_metered": values.limits,
    "battery_low": values.percent,
    "hot_at": values.celsius,
    "metered": values.one_of({"auto": None, "yes": True, "no": False}),
    "machine_root": values.folder,
    "budgets": values.budgets,
    "memory": values.some_size,
    "disk": values.some_size,
    "requests": values.whole_number(65_535, hint="leave it out for the default"),
    "providers": values.providers,
    "defer": values.hindrances,
    "update_window": values.update_window,
    "time_zone": values.time_zone,
    "offload": values.thresholds,
    "offload_per_minute": values.whole_number(65_535, hint="leave it out for the default"),
    "offload_bytes_per_day": values.parse_size,
    "offload_deadline": values.seconds,
    "offload_on_metered": _YES_NO,
    "offload_samples": values.parse_size,
    "offload_keep_inputs": _YES_NO,
}
"""The settings, and how to read the text of each. The same names as flags (--max-download-rate), variables and TOML keys."""

KNOWN = tuple(_READ)

GivenSettings = Mapping[str, Mapping[str, str]]
"""What was set, before it is read: by its source (FILE, ENVIRONMENT, FLAG), text by name. A later one beats an earlier."""
FILE, ENVIRONMENT, FLAG = ORDER = ("file", "environment", "flag")
_PATHS = (values.path_to, values.folder, values.lock_file)


def _refuse(where: str, name: str, known: list[str]) -> BadInput:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return BadInput(f"{where}: {name!r} is not a setting", hint=f"did you mean {near[0]}? known are {', '.join(known)}")


def _from_file(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path}: is not TOML: {error}", hint='one setting a line, text in quotes: budget = "artifact<=20KB"'
        ) from error
    given = {}
    for key, value in body.items():
        name = key.replace("-", "_")
        if name not in _READ:
            raise _refuse(str(path), key, list(KNOWN))
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = ",".join(value)
        if name == "budgets" and isinstance(value, dict):  # a table: [budgets] NAME = "LIMITS"
            value = "; ".join(f"{model}: {limits}" for model, limits in value.items())
        if name == "offload" and isinstance(value, dict):  # a table: [offload] NAME = 0.6
            value = ", ".join(f"{model}={threshold}" for model, threshold in value.items())
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise BadInput(
                f"{path}: {key} must be text or a number, is {type(value).__name__}",
                hint=f'write it as the flag takes it: {key} = "..."',
            )
        given[name] = str(value)
    return given


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    given = {}
    for variable, value in of_operators(environment).items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX)
        if name in _NOT_A_SETTING:
            continue
        if name.lower() not in _READ or name != name.upper():
            raise _refuse("environment", variable, [PREFIX + known.upper() for known in KNOWN])
        given[name.lower()] = value
    return given


def _check_tls(settings: NodeSettings) -> None:
    """Raises BadInput where TLS is set and no port would use it."""
    if settings.tls_cert is None and settings.tls_key is None:
        return
    if settings.tls_cert is None or settings.tls_key is None:
        raise BadInput(
            "--tls-cert, --tls-key: one is given without the other", hint="give both, or neither: then it makes its own"
        )
    hosts = [settings.http_host, *([settings.grpc[0]] if settings.grpc else [])]
    if all(is_loopback(host) for host in hosts):
        raise BadInput(
            f"--tls-cert: {settings.tls_cert}: the node listens on loopback alone ({', '.join(hosts)}), where it speaks no TLS",
            hint="leave it out, or listen elsewhere with --http HOST:PORT",
        )


def load_settings(data_dir: Path, flags: Mapping[str, str | None], environment: Mapping[str, str]) -> NodeSettings:
    """Settings from flags that are not None, the environment, DIR/node.toml and the defaults.

    Raises BadInput, naming the setting, its value and where it came from.
    """
    return settings_from(data_dir, given_settings(data_dir, flags, environment))


def given_settings(data_dir: Path, flags: Mapping[str, str | None], environment: Mapping[str, str]) -> GivenSettings:
    """Raises BadInput for an unknown setting."""
    return {
        FILE: _from_file(data_dir / "node.toml"),
        ENVIRONMENT: _from_environment(environment),
        FLAG: {name: text for name, text in flags.items() if text is not None},
    }


def written_down(what: GivenSettings) -> dict[str, dict[str, str]]:
    """For a reader that may stand in another folder: paths are absolute."""
    return {
        where: {name: str(_READ[name](text, name).absolute()) if _READ[name] in _PATHS else text for name, text in given.items()}
        for where, given in what.items()
    }


def origin(where: str, name: str, data_dir: Path) -> str:
    """As an operator writes it: --http, LITTORAL_NODE_HTTP, DIR/node.toml: http."""
    flag, variable = f"--{name.replace('_', '-')}", PREFIX + name.upper()
    return {FLAG: flag, ENVIRONMENT: variable}.get(where, f"{data_dir / 'node.toml'}: {name}")


def settings_from(data_dir: Path, what: GivenSettings) -> NodeSettings:
    """Raises BadInput, naming the setting, its value and where it came from."""
    found: dict[str, Any] = {}
    for where in ORDER:
        for name, text in what.get(where, {}).items():
            if name not in _READ:  # an agent of another version wrote it down
                raise _refuse(where, name, list(KNOWN))
            value = _READ[name](text, origin(where, name, data_dir))
            if name == "http":
                found["http_host"], found["http_port"] = value
            else:
                found[name] = value
    if "grpc" in found:
        found["grpc_is_set"] = True
    elif "http_port" in found:
        port = found["http_port"]
        found["grpc"] = (found["http_host"], port + 1 if 0 < port < 65535 else 0)
    assert set(found) <= {f.name for f in fields(NodeSettings)}
    settings = NodeSettings(**found)
    check_quotas(settings.limits, settings.node_budgets())
    _check_tls(settings)
    for name, overlay in settings.overlays().items():
        if overlay.quota is not None or overlay.disk_bytes is not None:
            raise BadInput(f"condition {name}: {overlay} names a quota", hint="a quota belongs into `budgets`")
    return settings
